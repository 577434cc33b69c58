// What a compiled kernel file offers: one Entry per kernel instance, and the runtime that runs it.
#pragma once
#include <stddef.h>

namespace cuda {
struct Launch {
  unsigned grid[3], block[3];
  size_t shared;
  int order;       // 0 forward, 1 reverse, 2 random
  unsigned seed;
  unsigned only;   // how many blocks are run, evenly spaced from the first to the last; 0 for all
};
struct Entry { const char* name; const char* (*signature)(); void (*call)(void** args); };
extern "C" __attribute__((visibility("hidden"))) const Entry cuda_entries[];
extern "C" __attribute__((visibility("hidden"))) const int cuda_entry_count;
__attribute__((visibility("hidden"))) const char* run(const Entry& entry, const Launch& launch, void** args);  // nullptr, or what went wrong
__attribute__((visibility("hidden"))) void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
__attribute__((visibility("hidden"))) bool failed();

// For the race detector: which barrier intervals the running thread is in.
struct Moment { unsigned block, thread, block_interval, warp_interval; };
__attribute__((visibility("hidden"))) Moment now();
__attribute__((visibility("hidden"))) bool in_kernel();
}  // namespace cuda
