#include "check.h"
#include "kernels/kronecker/config.h"

using namespace warptile;
using namespace warptile::kronecker;

namespace {

// One check a plan: there are thousands.
bool covers(const Plan& plan, int64_t a, int64_t b, int64_t c, int64_t d, int64_t batch, bool batch_last) {
  const int64_t group = int64_t{1} << plan.log_group;
  const bool l_covered = plan.l_tiles * group >= d && (plan.l_tiles - 1) * group < d;
  if (plan.variant == Variant::kDot) {
    const int64_t chunks = ceil_div(batch, plan.rows_per_thread);
    const bool lanes_fit = plan.log_group <= plan.log_lanes && plan.log_lanes <= 5;
    const bool k_lanes_used = (int64_t{1} << (plan.log_lanes - plan.log_group)) < 2 * c;
    return l_covered && lanes_fit && k_lanes_used && plan.items == chunks * a * b * plan.l_tiles;
  }
  const int64_t outputs_j = Tile::kLanes * plan.outputs_per_thread / group;
  const bool j_covered = plan.j_tiles * outputs_j >= b && (plan.j_tiles - 1) * outputs_j < b;
  const bool group_fits = plan.log_group <= (batch_last ? kMaxLogGroupBatchLast : kMaxLogGroup);
  const int64_t tiles = ceil_div(batch, Tile::kBatch) * a * plan.l_tiles * plan.j_tiles;
  return l_covered && j_covered && group_fits && plan.items == tiles;
}

}  // namespace

TEST(kronecker_plans_cover_every_output_once) {
  const int64_t sizes[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 1024};
  for (int64_t a : {1, 3}) {
    for (int64_t b : sizes) {
      for (int64_t c : sizes) {
        for (int64_t d : sizes) {
          bool covered = true;
          for (int64_t batch : {1, 2, 16, 17, 64, 65, 25088}) {
            for (bool batch_last : {false, true}) {
              covered &= covers(select_plan(a, b, c, d, batch, batch_last), a, b, c, d, batch, batch_last);
            }
          }
          CHECK(covered);
        }
      }
    }
  }
}

TEST(kronecker_variants) {
  CHECK(select_plan(1, 192, 48, 2, 1, false).variant == Variant::kDot);
  CHECK(select_plan(1, 192, 48, 2, 16, true).variant == Variant::kDot);
  CHECK(select_plan(1, 192, 48, 2, 17, false).variant == Variant::kTile);
  // Butterflies: pairs side by side are too small for a tile, pairs far apart are not.
  CHECK(select_plan(512, 2, 2, 1, 4096, false).variant == Variant::kDot);
  CHECK(select_plan(1, 2, 2, 512, 4096, false).variant == Variant::kTile);
  CHECK(select_plan(512, 2, 2, 1, 4096, true).variant == Variant::kTile);
}

TEST(kronecker_tiles_are_wide_where_that_pads_little) {
  CHECK(select_plan(1, 128, 64, 1, 64, false).outputs_per_thread == 8);
  CHECK(select_plan(1, 64, 64, 1, 64, false).outputs_per_thread == 4);
  CHECK(select_plan(1, 48, 64, 1, 64, false).outputs_per_thread == 4);
  CHECK(select_plan(1, 16, 64, 1, 64, false).outputs_per_thread == 1);
  CHECK(select_plan(1, 2, 2, 64, 64, false).outputs_per_thread == 1);
}

TEST(kronecker_counts_are_64_bits_wide) {
  const int64_t batch = int64_t{1} << 40;
  CHECK(select_plan(1, 64, 64, 1, batch, false).items == batch / Tile::kBatch);
  CHECK(select_plan(1024, 1, 1, 1, batch, false).items == batch / 4 * 1024);
}
