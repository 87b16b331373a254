// Whether dense operands can be read and written several elements at a time: what launchers check of the pointers they are given.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace warptile {

constexpr int kVectorAlignment = 16;  // bytes

inline bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % kVectorAlignment == 0; }

// All bases lie at multiples of `vector` elements, and all `sizes` (extents, leading dimensions, strides) keep what follows there.
inline bool take_vectors(std::initializer_list<const void*> bases, std::initializer_list<int64_t> sizes, int vector,
                         size_t element_bytes) {
  for (const void* base : bases) {
    if (reinterpret_cast<uintptr_t>(base) % (vector * element_bytes) != 0) return false;
  }
  for (const int64_t size : sizes) {
    if (size % vector != 0) return false;
  }
  return true;
}

// How many of them make up a vector.
inline int whole_vector(size_t element_bytes) { return kVectorAlignment / static_cast<int>(element_bytes); }

}  // namespace warptile
