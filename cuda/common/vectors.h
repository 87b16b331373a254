// Whether dense operands can be read and written 16 bytes at a time: what launchers check of the pointers they are given.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace warptile {

constexpr int kVectorAlignment = 16;  // bytes

inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kVectorAlignment == 0; }

// All bases lie at multiples of 16 bytes, and all `sizes` (extents, leading dimensions, strides) of elements of `element_bytes` keep
// what follows there.
inline bool take_vectors(std::initializer_list<const void*> bases, std::initializer_list<int64_t> sizes, size_t element_bytes) {
  const int64_t vector = kVectorAlignment / static_cast<int64_t>(element_bytes);
  for (const void* base : bases) {
    if (!is_aligned(base)) return false;
  }
  for (const int64_t size : sizes) {
    if (size % vector != 0) return false;
  }
  return true;
}

}  // namespace warptile
