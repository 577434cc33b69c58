// A program that runs recorded launches (recording.py) of one kernel file and says what is wrong: "FAULT <kernel>: <what>".
// Every array has memory of its own with poisoned zones around it. Results must equal the recorded ones bit for bit.
#include "runtime.h"
#include "shadow.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef CUDA_ASAN  // the kernels are built with -fsanitize=address; the runtime is not, since it poisons shared memory
extern "C" void __asan_poison_memory_region(const volatile void*, size_t);
extern "C" const char* __asan_default_options() { return "detect_leaks=0:detect_stack_use_after_return=0:exitcode=1"; }
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=0"; }
#define POISON(p, n) __asan_poison_memory_region(p, n)
#else
#define POISON(p, n) ((void)0)
#endif

namespace {
const size_t ZONE = 1 << 16;  // bytes on either side
const size_t FAR = size_t(1) << 34;  // bytes on either side of an array of zeros: farther than an int can index
const uint32_t MOST = 64;     // arguments
FILE* in;

void get(void* to, size_t bytes) {
  if (bytes && fread(to, bytes, 1, in) != 1) { fprintf(stderr, "the recording ends too early\n"); exit(3); }
}
template <class T> T number() { T v; get(&v, sizeof v); return v; }
void text(char* to, size_t room) {
  uint32_t n = number<uint32_t>();
  if (n >= room) exit(3);
  get(to, n);
  to[n] = 0;
}

struct Argument {
  char name[64];
  uint32_t kind, written;         // kind 0 a value, 1 an array, 2 a null pointer, 3 an array of zeros, however large
  uint64_t bytes;
  alignas(16) unsigned char value[256];
  char *memory, *data, *expected, *mapped;
  size_t mapped_bytes;
};

void zeros(Argument& a) {  // only the pages that are touched become memory
  const size_t page = 4096, room = (a.bytes + page - 1) / page * page;
  char* all = static_cast<char*>(mmap(nullptr, room + 2 * FAR, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (all == MAP_FAILED) { perror("mmap"); exit(3); }
  a.data = all + FAR + (room - a.bytes) / 256 * 256;  // the end against the forbidden zone
  mprotect(all + FAR, room, PROT_READ | PROT_WRITE);
  a.mapped = all;
  a.mapped_bytes = room + 2 * FAR;
  memcpy(a.value, &a.data, sizeof a.data);
}

void read(Argument& a) {
  text(a.name, sizeof a.name);
  a.kind = number<uint32_t>(); a.written = number<uint32_t>(); a.bytes = number<uint64_t>();
  a.memory = a.data = a.expected = a.mapped = nullptr;
  memset(a.value, 0, sizeof a.value);
  if (a.kind == 0 && a.bytes > sizeof a.value) exit(3);
  if (a.kind == 0) return get(a.value, a.bytes);
  if (a.kind == 2) return;
  if (a.kind == 3) return zeros(a);
  if (posix_memalign(reinterpret_cast<void**>(&a.memory), 256, a.bytes + 2 * ZONE)) abort();
  memset(a.memory, 0xFF, a.bytes + 2 * ZONE);
  a.data = a.memory + ZONE;
  get(a.data, a.bytes);
  if (a.written) { a.expected = static_cast<char*>(malloc(a.bytes + 1)); get(a.expected, a.bytes); }
  POISON(a.memory, ZONE);
  POISON(a.data + a.bytes, ZONE);
  memcpy(a.value, &a.data, sizeof a.data);
}

bool replay() {
  char kernel[256];
  text(kernel, sizeof kernel);
  cuda::Launch launch;
  get(launch.grid, sizeof launch.grid);
  get(launch.block, sizeof launch.block);
  launch.shared = number<uint32_t>(); launch.order = number<int32_t>(); launch.seed = number<uint32_t>();
  launch.only = number<uint32_t>();
  uint32_t n = number<uint32_t>();
  static Argument arguments[MOST];  // static: the kernel's caller reads them under the race detector
  static void* values[MOST];
  if (n > MOST) exit(3);
  for (uint32_t i = 0; i < n; ++i) {
    read(arguments[i]);
    values[i] = arguments[i].value;
    if (arguments[i].kind == 1) cuda::shadow_buffer(arguments[i].name, arguments[i].data, arguments[i].bytes, arguments[i].written);
  }
  const cuda::Entry* entry = nullptr;
  for (int i = 0; i < cuda::cuda_entry_count; ++i) if (!strcmp(cuda::cuda_entries[i].name, kernel)) entry = &cuda::cuda_entries[i];
  if (!entry) { fprintf(stderr, "no kernel %s\n", kernel); exit(3); }
  const char* wrong = cuda::run(*entry, launch, values);
  char message[256];
  for (uint32_t i = 0; i < n; ++i) {
    Argument& a = arguments[i];
    if (a.expected && !wrong && memcmp(a.data, a.expected, a.bytes)) {
      uint64_t byte = 0;
      while (a.data[byte] == a.expected[byte]) ++byte;
      snprintf(message, sizeof message, "values: %s differs from the recorded result at byte %llu", a.name, static_cast<unsigned long long>(byte));
      wrong = message;
    }
    if (a.mapped) munmap(a.mapped, a.mapped_bytes);
    free(a.memory);
    free(a.expected);
  }
  if (wrong) fprintf(stderr, "FAULT %s: %s\n", kernel, wrong);
  return !wrong;
}
}  // namespace

int main(int argc, char** argv) {
  in = argc == 2 ? fopen(argv[1], "rb") : nullptr;
  if (!in) { fprintf(stderr, "usage: replay RECORDING\n"); return 3; }
  uint32_t launches = number<uint32_t>();
  for (uint32_t i = 0; i < launches; ++i) if (!replay()) return 1;
  return 0;
}
