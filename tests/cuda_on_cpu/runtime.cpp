// Runs a kernel on one CPU thread: blocks one after another, the threads of a block one after another until they wait at a
// barrier. A thread that waits keeps its stack (a fiber); where nobody waits, one stack serves all.
// Reported: threads of a block at different barriers, barriers and warp operations that an exited thread cannot reach,
// masks without the caller, launches beyond a GPU's limits. Shared memory starts as 0xFF: NaN, or -1.
#include "runtime.h"
#include "cuda.h"
#include "shadow.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx, blockIdx, blockDim, gridDim;
namespace cuda {
namespace {
const int MOST = 1024;             // threads in a block
const size_t STACK = 256 << 10;    // bytes
enum State { READY, AT_BLOCK, AT_WARP, DONE };
struct Fiber {
  int thread = -1;
  char* stack = nullptr;
#if defined(__x86_64__)
  void* pointer = nullptr;
#else
  ucontext_t context;
#endif
};
struct Thread { State state; int line; unsigned mask; Fiber* fiber; };

Thread threads[MOST];
alignas(16) unsigned char slots[MOST][16];
int order[MOST], count, next_thread, waiting;
unsigned block_number, block_interval, warp_intervals[MOST / 32];
Fiber scheduler, *running, *idle[MOST], *all[MOST];
int idle_count, all_count;
char message[1024];
const Entry* entry;
void** arguments;
void* dynamic;
bool barrier_seen;
struct Variable { const char* name; void* start; size_t bytes; } variables[256];  // __shared__, of all kernels met so far
int variable_count;
uint64_t random_state;

unsigned random_below(unsigned n) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return unsigned(random_state >> 33) % n;
}

#if defined(__x86_64__)
extern "C" CUDA_HIDDEN void cuda_switch(void** from, void* to);
asm(".text\n.hidden cuda_switch\n.globl cuda_switch\n.type cuda_switch,@function\ncuda_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size cuda_switch,.-cuda_switch\n");
void jump(Fiber* from, Fiber* to) { cuda_switch(&from->pointer, to->pointer); }
void prepare(Fiber* f, void (*main)()) {
  void** top = reinterpret_cast<void**>(f->stack + STACK);
  *--top = nullptr;                               // main's return address: it never returns; also aligns the stack
  *--top = reinterpret_cast<void*>(main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f->pointer = top;
}
#else
void jump(Fiber* from, Fiber* to) { swapcontext(&from->context, &to->context); }
void prepare(Fiber* f, void (*main)()) {
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack;
  f->context.uc_stack.ss_size = STACK;
  f->context.uc_link = nullptr;
  makecontext(&f->context, main, 0);
}
#endif

void become(int t) {
  threadIdx.x = unsigned(t) % blockDim.x;
  threadIdx.y = unsigned(t) / blockDim.x % blockDim.y;
  threadIdx.z = unsigned(t) / blockDim.x / blockDim.y;
}

void worker() {  // runs threads until one of them waits; then the scheduler starts another worker
  for (;;) {
    while (next_thread < count && !message[0]) {
      int t = order[next_thread++];
      running->thread = t;
      threads[t].fiber = running;
      become(t);
      entry->call(arguments);
      threads[running->thread].state = DONE;  // running: the thread may have waited, but its fiber is still this one
    }
    running->thread = -1;
    idle[idle_count++] = running;
    jump(running, &scheduler);
  }
}

Fiber* take_fiber() {
  if (idle_count == 0) {
    Fiber* f = new Fiber;
    char* memory = static_cast<char*>(mmap(nullptr, STACK + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    mprotect(memory, 4096, PROT_NONE);
    f->stack = memory + 4096;
    shadow_allow(f->stack, STACK);
    prepare(f, worker);
    all[all_count++] = f;
    idle[idle_count++] = f;
  }
  return idle[--idle_count];
}

void resume(Fiber* f) {
  running = f;
  if (f->thread >= 0) {
    become(f->thread);
    threads[f->thread].state = READY;
    --waiting;
  }
  jump(&scheduler, f);
  running = nullptr;
}

void wait(State state, int line, unsigned mask) {
  Fiber* me = running;
  Thread& t = threads[me->thread];
  t.state = state; t.line = line; t.mask = mask;
  ++waiting;
  barrier_seen = true;
  jump(me, &scheduler);
}

void drop_fibers() {  // after a failure: the frames that still wait are thrown away
  for (int i = 0; i < all_count; ++i) { munmap(all[i]->stack - 4096, STACK + 4096); delete all[i]; }
  all_count = idle_count = 0;
}

// Lets one warp group go on if all of it has come; false if none could.
bool release_warps() {
  bool any = false;
  for (int first = 0; first < count; first += 32) {
    int lanes = count - first < 32 ? count - first : 32;
    unsigned live = lanes == 32 ? ~0u : (1u << lanes) - 1;
    for (int lane = 0; lane < lanes; ++lane) {
      Thread& t = threads[first + lane];
      if (t.state != AT_WARP) continue;
      const unsigned own = t.mask;  // t's mask changes as soon as it goes on
      unsigned mask = own & live;
      bool ready = true;
      for (int other = 0; other < lanes; ++other) {
        if (!(mask >> other & 1)) continue;
        Thread& u = threads[first + other];
        if (u.state == DONE) return fail("thread %d waits in a warp operation (line %d) for lane %d, which has exited", first + lane, t.line, other), false;
        if (u.state == AT_WARP && u.mask == t.mask && u.line != t.line)
          return fail("warp divergence: thread %d waits at line %d, thread %d at line %d", first + lane, t.line, first + other, u.line), false;
        if (u.state != AT_WARP || u.mask != t.mask) ready = false;
      }
      if (!ready) continue;
      if (mask == live) ++warp_intervals[first / 32];
      any = true;
      for (int i = 0; i < count && !message[0]; ++i) {
        int u = order[i];
        if (u >= first && u < first + lanes && (mask >> (u - first) & 1) && threads[u].state == AT_WARP && threads[u].mask == own) {
          resume(threads[u].fiber);
          mask &= ~(1u << (u - first));  // a lane may have come to its next warp operation meanwhile
        }
      }
    }
  }
  return any;
}

void release() {
  if (release_warps() || message[0]) return;
  int at_barrier = 0, exited = 0, first = -1;
  for (int t = 0; t < count; ++t) {
    if (threads[t].state == DONE) ++exited;
    if (threads[t].state != AT_BLOCK) continue;
    ++at_barrier;
    if (first < 0) first = t;
    else if (threads[t].line != threads[first].line)
      return fail("barrier divergence: thread %d waits at line %d, thread %d at line %d", first, threads[first].line, t, threads[t].line);
  }
  if (at_barrier && exited)
    return fail("barrier divergence: %d threads wait at line %d, %d have exited", at_barrier, threads[first].line, exited);
  if (at_barrier != count) return fail("deadlock: %d of %d threads wait for the block, the others in warp operations", at_barrier, count);
  ++block_interval;
  for (int i = 0; i < count && !message[0]; ++i) resume(threads[order[i]].fiber);
}

void poison(void* start, size_t bytes) {  // not memset, which the address sanitizer would stop at its red zones
  for (volatile char* p = static_cast<char*>(start); bytes--; ++p) *p = char(0xFF);
}

void run_block(unsigned flat, const Launch& launch) {
  block_number = flat;
  blockIdx = {flat % gridDim.x, flat / gridDim.x % gridDim.y, flat / gridDim.x / gridDim.y};
  for (int i = 0; i < count; ++i) {
    order[i] = launch.order == 1 ? count - 1 - i : i;
    threads[i].state = READY;
  }
  if (launch.order == 2) for (int i = count - 1; i > 0; --i) { int j = int(random_below(unsigned(i) + 1)), o = order[i]; order[i] = order[j]; order[j] = o; }
  if (barrier_seen) {  // else nobody can have shared anything
    for (int i = 0; i < variable_count; ++i) poison(variables[i].start, variables[i].bytes);
    poison(dynamic, launch.shared);
  }
  barrier_seen = false;
  next_thread = waiting = 0;
  while (next_thread < count && !message[0]) resume(take_fiber());
  while (waiting && !message[0]) release();
}

bool within_limits(const Launch& l) {
  const unsigned *g = l.grid, *b = l.block;
  unsigned long long size = 1ull * b[0] * b[1] * b[2];
  if (size == 0 || size > MOST || b[2] > 64) fail("a block of %ux%ux%u threads", b[0], b[1], b[2]);
  else if (!g[0] || !g[1] || !g[2] || g[0] > 0x7fffffffu || g[1] > 65535 || g[2] > 65535) fail("a grid of %ux%ux%u blocks", g[0], g[1], g[2]);
  else if (l.shared > 227u * 1024) fail("%zu bytes of dynamic shared memory", l.shared);
  return !message[0];
}
}  // namespace

void fail(const char* format, ...) {
  if (message[0]) return;
  va_list list;
  va_start(list, format);
  vsnprintf(message, sizeof message, format, list);
  va_end(list);
}
bool failed() { return message[0] != 0; }

const char* run(const Entry& which, const Launch& launch, void** args) {
  message[0] = 0;
  entry = &which;
  arguments = args;
  if (!within_limits(launch)) return message;
  gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
  blockDim = {launch.block[0], launch.block[1], launch.block[2]};
  count = int(blockDim.x * blockDim.y * blockDim.z);
  random_state = launch.seed;
  barrier_seen = true;
  if (posix_memalign(&dynamic, 16, launch.shared ? launch.shared : 1)) abort();
  for (int i = 0; i < variable_count; ++i) shadow_shared(variables[i].name, variables[i].start, variables[i].bytes);
  shadow_shared("dynamic shared memory", dynamic, launch.shared);
  unsigned long long blocks = 1ull * gridDim.x * gridDim.y * gridDim.z, some = launch.only && launch.only < blocks ? launch.only : blocks;
  unsigned long long start = launch.order == 2 ? random_below(unsigned(some)) : 0;
  for (unsigned long long i = 0; i < some && !message[0]; ++i) {
    unsigned long long n = launch.order == 1 ? some - 1 - i : (i + start) % some;
    run_block(some == blocks ? unsigned(n) : unsigned(n * (blocks - 1) / (some - 1)), launch);
  }
  shadow_end();
  free(dynamic);
  if (message[0]) drop_fibers();
  return message[0] ? message : nullptr;
}

Moment now() {
  unsigned t = unsigned(running->thread);
  return {block_number, t, block_interval, warp_intervals[t / 32]};
}
bool in_kernel() { return running != nullptr; }

void block_barrier(int line) { wait(AT_BLOCK, line, 0); }
void warp_barrier(unsigned mask, int line) {
  int t = running->thread;
  if (!(mask >> (t & 31) & 1)) fail("thread %d calls a warp operation (line %d) whose mask %08x leaves it out", t, line, mask);
  wait(AT_WARP, line, mask);
}
int thread() { return running->thread; }
unsigned char* exchange_slot(int t) { return slots[t]; }
bool lane_exists(int t) { return t < count; }
void* dynamic_shared() { return dynamic; }
bool shared_variable(const char* name, void* start, size_t bytes) {
  if (variable_count == 256) abort();
  variables[variable_count++] = {name, start, bytes};
  poison(start, bytes);
  shadow_shared(name, start, bytes);
  return true;
}
}  // namespace cuda

extern "C" __attribute__((visibility("default"))) const char* cuda_run(int entry, const cuda::Launch* launch, void** args) {
  return cuda::run(cuda::cuda_entries[entry], *launch, args);
}
extern "C" __attribute__((visibility("default"))) const char* cuda_signature(int entry) { return cuda::cuda_entries[entry].signature(); }
