#include "check.h"
#include "kernels/w4a16/config.h"

using namespace warptile;
using namespace warptile::w4a16;

namespace {

// Tiles cover m x n, splits cover k, and none of them is empty.
bool covers(const Plan& plan, int64_t m, int n, int k) {
  const int tile_n = plan.small ? SmallConfig::kTileN : TiledConfig::kTileN;
  const bool tiles = plan.tiles == ceil_div(m, plan.tile_m) * ceil_div(n, tile_n);
  const bool rows = plan.small ? m <= kSmallMaxM && plan.tile_m <= SmallConfig::kMaxTileM : plan.tile_m == TiledConfig::kTileM;
  const int64_t columns = plan.split_columns;
  const bool splits = plan.splits >= 1 && plan.splits <= kMaxSplits && columns % kSplitColumns == 0 &&
                      plan.splits * columns >= k && (plan.splits == 1 || (plan.splits - 1) * columns < k);
  return tiles && rows && splits;
}

}  // namespace

TEST(w4a16_plans_cover_every_output_once) {
  for (int k : {0, 1, 255, 256, 257, 511, 512, 513, 4096, 11008, 28672, kMaxSide}) {
    for (int n : {1, 31, 32, 33, 63, 64, 65, 4096, 28672, kMaxSide}) {
      bool covered = true;
      for (int64_t m : {1, 2, 3, 4, 5, 8, 9, 32, 33, 64, 65, 4096}) {
        for (int asked = 0; asked <= kMaxSplits; ++asked) {
          for (int multiprocessors : {1, 108, 132}) covered &= covers(select(m, n, k, asked, multiprocessors), m, n, k);
        }
      }
      CHECK(covered);
    }
  }
}

TEST(w4a16_splits_what_leaves_the_device_idle) {
  CHECK(select(1, 4096, 4096, 0, 132).splits == 4);
  CHECK(select(1, 28672, 8192, 0, 132).splits == 1);
  CHECK(select(1, 64, 512, 0, 132).splits == 1);
  CHECK(select(4096, 4096, 4096, 0, 132).splits == 1);
  // Asked for more than k has: one a quantum.
  CHECK(select(1, 64, 512, 64, 132).splits == 2);
}

TEST(w4a16_rows_choose_the_tile) {
  CHECK(select(1, 64, 64, 0, 132).tile_m == 1);
  CHECK(select(3, 64, 64, 0, 132).tile_m == 4);
  CHECK(select(5, 64, 64, 0, 132).tile_m == 8);
  CHECK(select(kSmallMaxM, 64, 64, 0, 132).small);
  CHECK(!select(kSmallMaxM + 1, 64, 64, 0, 132).small);
}
