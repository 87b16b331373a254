#include <cstdint>

#include "check.h"
#include "common/checked.h"
#include "common/dtype.h"

using namespace warptile;

TEST(checked_product) {
  CHECK(checked_product({}) == 1);
  CHECK(checked_product({7}) == 7);
  CHECK(checked_product({3, 5, 7}) == 105);
  CHECK(checked_product({int64_t{1} << 31, int64_t{1} << 31}) == int64_t{1} << 62);
  CHECK(checked_product({INT64_MAX, 1, 1}) == INT64_MAX);
}

TEST(checked_product_rejects_what_64_bits_cannot_hold) {
  CHECK(!checked_product({int64_t{1} << 32, int64_t{1} << 31}));
  CHECK(!checked_product({INT64_MAX, 2}));
  CHECK(!checked_product({3, -1}));
  CHECK(!checked_product({INT64_MIN}));
}

TEST(checked_product_with_a_zero_is_zero_wherever_it_stands) {
  CHECK(checked_product({0}) == 0);
  CHECK(checked_product({INT64_MAX, INT64_MAX, 0}) == 0);
  CHECK(checked_product({0, INT64_MAX, INT64_MAX}) == 0);
  CHECK(!checked_product({0, -1}));
}

TEST(ceil_div) {
  CHECK(ceil_div(0, 64) == 0);
  CHECK(ceil_div(1, 64) == 1);
  CHECK(ceil_div(64, 64) == 1);
  CHECK(ceil_div(65, 64) == 2);
  CHECK(ceil_div(INT64_MAX, 1) == INT64_MAX);
  CHECK(ceil_div(INT64_MAX, INT64_MAX) == 1);
  CHECK(ceil_div(INT64_MAX, 2) == (INT64_MAX >> 1) + 1);
}

TEST(round_up) {
  CHECK(round_up(0, 4) == 0);
  CHECK(round_up(1, 4) == 4);
  CHECK(round_up(4, 4) == 4);
  CHECK(round_up(5, 4) == 8);
  CHECK(round_up(INT64_MAX, 1) == INT64_MAX);
}

TEST(dtypes) {
  CHECK(dtype_bytes(DType::kFloat32) == 4);
  CHECK(dtype_bytes(DType::kFloat16) == 2);
  CHECK(dtype_bytes(DType::kBFloat16) == 2);
  CHECK(dtype_bytes(DType::kInt32) == 4);
  CHECK(dtype_bytes(DType::kInt8) == 1);
  CHECK(dtype_bytes(DType::kUInt8) == 1);
  int floats = 0;
  for (int code = 0; code < kDTypeCount; ++code) {
    CHECK(dtype_bytes(static_cast<DType>(code)) > 0);
    floats += is_float(static_cast<DType>(code));
  }
  CHECK(floats == 3);
  CHECK(!is_float(DType::kInt8));
}
