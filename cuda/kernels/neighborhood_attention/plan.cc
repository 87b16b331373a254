#include <cmath>
#include <cstdint>

#include "common/checked.h"
#include "kernels/neighborhood_attention/config.h"

namespace warptile::neighborhood {
namespace {

// Tokens of the longest residue class.
int class_length(const NeighborhoodAxis& axis) { return static_cast<int>(ceil_div(axis.length, axis.dilation)); }

// Keys that a tile of `extent` queries sees along an axis, for a window of stride 1.
double covered(const NeighborhoodAxis& axis, int extent) {
  return std::fmin(static_cast<double>(extent) + axis.kernel - 1, class_length(axis));
}

// Doubles the axis that adds the smallest share of keys, the innermost of equals, until the tile has `queries`.
void choose_extents(const NeighborhoodAttentionParams& params, int queries, int* extent) {
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) extent[axis] = 1;
  for (int size = 1; size < queries; size *= 2) {
    int best = -1;
    double best_growth = 0;
    for (int axis = kNeighborhoodAxes - 1; axis >= 0; --axis) {
      if (extent[axis] >= class_length(params.axes[axis])) continue;
      const double growth = covered(params.axes[axis], 2 * extent[axis]) / covered(params.axes[axis], extent[axis]);
      if (best < 0 || growth < best_growth) {
        best = axis;
        best_growth = growth;
      }
    }
    if (best < 0) return;  // the tile holds the largest class already
    extent[best] *= 2;
  }
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

Status make_plan(const NeighborhoodAttentionParams& params, int queries, Plan* plan) {
  choose_extents(params, queries, plan->extent);
  int64_t tiles = 1;
  for (int axis = 0; axis < kNeighborhoodAxes; ++axis) {
    const NeighborhoodAxis& along = params.axes[axis];
    const int64_t blocks = ceil_div(class_length(along), plan->extent[axis]) * along.dilation;
    tiles *= blocks;  // below 2^63: the product so far is below 2^31, blocks is at most length + dilation
    if (tiles > INT32_MAX) return Status::limit("neighborhood_attention: more tiles than a grid holds");
    plan->blocks[axis] = static_cast<int>(blocks);
  }
  plan->tiles = static_cast<unsigned>(tiles);
  plan->scale_log2 = static_cast<float>(params.scale * 1.4426950408889634);
  const int pack = static_cast<int>(16 / dtype_bytes(params.dtype));
  plan->vectorized = params.head_dim % pack == 0 && aligned(params.q) && aligned(params.k) && aligned(params.v) &&
                     aligned(params.additional_keys) && aligned(params.additional_values) && aligned(params.out);
  return Status::ok();
}

}  // namespace warptile::neighborhood
