// The race detector's view of memory (shadow.cpp). Without it these do nothing.
#pragma once
#include <stddef.h>

namespace cuda {
#ifdef CUDA_SHADOW
void shadow_buffer(const char* name, void* start, size_t bytes, bool written);  // an array argument of the next launch
void shadow_shared(const char* name, void* start, size_t bytes);  // shared memory: each block has its own
void shadow_allow(void* start, size_t bytes);  // a stack, where nothing is checked
void shadow_end();
#else
inline void shadow_buffer(const char*, void*, size_t, bool) {}
inline void shadow_shared(const char*, void*, size_t) {}
inline void shadow_allow(void*, size_t) {}
inline void shadow_end() {}
#endif
}  // namespace cuda
