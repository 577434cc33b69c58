// Races, uninitialised shared memory and stray accesses. g++ -fsanitize=thread puts a call before every read and write of
// memory; the functions called are ours. Every byte of a buffer remembers who wrote it and who read it, and between which
// barriers. Two accesses by two threads, one of them a write, must be separated: inside a block by __syncthreads, inside a
// warp also by a warp operation of all its lanes, between blocks by nothing. Deterministic, and no second CPU thread.
#include "shadow.h"
#include "runtime.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern "C" {
extern __attribute__((visibility("hidden"))) char __executable_start[], _end[];
}

namespace cuda {
namespace {
struct Access { Moment when; bool any; };
struct Cell { Access write, read[2]; };  // two readers: a write by one of them still meets the other
struct Region { char name[64]; char* start; size_t bytes; bool written, shared; Cell* cells; };

const int MOST = 512;
Region regions[MOST];
int region_count;
struct { char* start; size_t bytes; } allowed[2048];
int allowed_count;

Region* find(const char* p) {
  for (int i = 0; i < region_count; ++i)
    if (p >= regions[i].start && p < regions[i].start + regions[i].bytes) return &regions[i];
  return nullptr;
}

bool elsewhere(const char* p) {  // the stacks of CUDA threads, tables of constants, the runtime itself
  if (p >= __executable_start && p < _end) return true;
  for (int i = 0; i < allowed_count; ++i)
    if (p >= allowed[i].start && p < allowed[i].start + allowed[i].bytes) return true;
  return false;
}

bool separated(const Moment& a, const Moment& b) {
  if (a.block != b.block) return false;
  if (a.thread == b.thread || a.block_interval != b.block_interval) return true;
  return a.thread / 32 == b.thread / 32 && a.warp_interval != b.warp_interval;
}

void conflict(const Region& r, size_t byte, const Access& before, const char* did, const Moment& m, const char* does) {
  fail("race: byte %zu of %s %s by thread %u of block %u and %s by thread %u of block %u with no barrier between", byte, r.name, did,
       before.when.thread, before.when.block, does, m.thread, m.block);
}

void access(char* p, size_t bytes, bool write) {
  if (!in_kernel() || failed()) return;
  Region* r = find(p);
  if (!r) {
    if (!elsewhere(p)) fail("stray: %s of %zu bytes outside every array", write ? "a write" : "a read", bytes);
    return;
  }
  size_t first = size_t(p - r->start);
  if (first + bytes > r->bytes) return fail("stray: %zu bytes at byte %zu of %s, which has %zu", bytes, first, r->name, r->bytes);
  if (write && !r->written) return fail("stray: a write to %s, which the kernel declares const", r->name);
  Moment m = now();
  auto present = [&](const Access& a) { return a.any && !(r->shared && a.when.block != m.block); };  // each block has its own
  for (size_t i = first; i < first + bytes; ++i) {
    Cell& c = r->cells[i];
    if (present(c.write) && !separated(c.write.when, m)) return conflict(*r, i, c.write, "written", m, write ? "written" : "read");
    if (!write && r->shared && !present(c.write)) return fail("uninitialised: byte %zu of %s is read by thread %u before anybody wrote it", i, r->name, m.thread);
    if (write) {
      for (const Access& a : c.read) if (present(a) && !separated(a.when, m)) return conflict(*r, i, a, "read", m, "written");
      c.write = {m, true};
      c.read[0].any = c.read[1].any = false;
    } else {
      bool mine = !present(c.read[0]) || (c.read[0].when.block == m.block && c.read[0].when.thread == m.thread) || separated(c.read[0].when, m);
      c.read[mine ? 0 : 1] = {m, true};
    }
  }
}

void add(const char* name, char* start, size_t bytes, bool written, bool shared) {
  if (!bytes) return;
  if (region_count == MOST) abort();
  Region& r = regions[region_count++];
  strncpy(r.name, name, sizeof r.name - 1);
  r.start = start; r.bytes = bytes; r.written = written; r.shared = shared;
  r.cells = static_cast<Cell*>(calloc(bytes, sizeof(Cell)));
}
}  // namespace

void shadow_buffer(const char* name, void* start, size_t bytes, bool written) { add(name, static_cast<char*>(start), bytes, written, false); }
void shadow_shared(const char* name, void* start, size_t bytes) { add(name, static_cast<char*>(start), bytes, true, true); }
void shadow_allow(void* start, size_t bytes) { allowed[allowed_count++] = {static_cast<char*>(start), bytes}; }
void shadow_end() {
  while (region_count) free(regions[--region_count].cells);
}
}  // namespace cuda

#define VISIBLE extern "C" __attribute__((visibility("hidden")))
#define ACCESS(n)                                                                                                 \
  VISIBLE void __tsan_read##n(void* p) { cuda::access(static_cast<char*>(p), n, false); }                         \
  VISIBLE void __tsan_write##n(void* p) { cuda::access(static_cast<char*>(p), n, true); }                         \
  VISIBLE void __tsan_unaligned_read##n(void* p) { cuda::access(static_cast<char*>(p), n, false); }               \
  VISIBLE void __tsan_unaligned_write##n(void* p) { cuda::access(static_cast<char*>(p), n, true); }               \
  VISIBLE void __tsan_volatile_read##n(void* p) { cuda::access(static_cast<char*>(p), n, false); }                \
  VISIBLE void __tsan_volatile_write##n(void* p) { cuda::access(static_cast<char*>(p), n, true); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
VISIBLE void __tsan_read_range(void* p, size_t n) { cuda::access(static_cast<char*>(p), n, false); }
VISIBLE void __tsan_write_range(void* p, size_t n) { cuda::access(static_cast<char*>(p), n, true); }
VISIBLE void __tsan_init() {}
VISIBLE void __tsan_func_entry(void*) {}
VISIBLE void __tsan_func_exit() {}
