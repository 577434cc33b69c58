// Entries made from kernel functions: CUDA_ENTRY(name<float>) in the table that build.py writes after the kernel text.
#pragma once
#include "runtime.h"
#include <utility>
#include <type_traits>

namespace cuda {
template <class... A, size_t... I> void apply(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
  kernel(*static_cast<std::remove_cv_t<A>*>(args[I])...);
}
template <class... A> void apply(void (*kernel)(A...), void** args) { apply(kernel, args, std::index_sequence_for<A...>()); }

template <class T> void code(char*& out) {  // pf4 a const float*, Pf4 a float*, i4 an int, V16 a float4
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_pointer_v<U>) {
    using V = std::remove_pointer_t<U>;
    *out++ = std::is_const_v<V> ? 'p' : 'P';
    code<V>(out);
  } else {
    *out++ = std::is_floating_point_v<U> ? 'f' : std::is_same_v<U, bool> ? 'b' : !std::is_integral_v<U> ? 'V' : std::is_signed_v<U> ? 'i' : 'u';
    if (sizeof(U) >= 10) *out++ = char('0' + sizeof(U) / 10);
    *out++ = char('0' + sizeof(U) % 10);
    *out++ = ' ';
  }
}
template <class... A> const char* signature(void (*)(A...), char* out) {
  char* end = out;
  (code<A>(end), ...);
  *end = 0;
  return out;
}
}  // namespace cuda

#define CUDA_ENTRY(...)                                                                                        \
  { #__VA_ARGS__, [] { static char text[512]; return cuda::signature(__VA_ARGS__, text); },                    \
    [](void** args) { cuda::apply(__VA_ARGS__, args); } },
