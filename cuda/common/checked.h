// Products and sums of sizes that cannot wrap around.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>

namespace warptile {

// The product of non-negative sizes; nullopt where it is negative or past 2^63 - 1.
inline std::optional<int64_t> checked_product(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  bool zero = false;
  for (int64_t size : sizes) {
    if (size < 0) return std::nullopt;
    if (size == 0) zero = true;
  }
  if (zero) return 0;
  for (int64_t size : sizes) {
    if (__builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return product;
}

constexpr int64_t ceil_div(int64_t value, int64_t divisor) { return value / divisor + (value % divisor != 0); }

// The next multiple of `unit`.
constexpr int64_t round_up(int64_t value, int64_t unit) { return ceil_div(value, unit) * unit; }

}  // namespace warptile
