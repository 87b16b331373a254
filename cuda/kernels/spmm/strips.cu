// Launches of the strip kernel.

#include "kernels/spmm/add_parts.cuh"
#include "kernels/spmm/strips.cuh"

namespace warptile::spmm_kernels {
namespace {

template <typename Shape>
Status launch_shape(const SpmmParams& params, const LaunchContext& context) {
  const SpmmStrips& strips = params.strips;
  StripParams p{};
  p.items = reinterpret_cast<const int4*>(strips.items);
  p.columns = strips.columns;
  p.values = strips.values;
  p.b = static_cast<const float*>(params.b);
  p.items_count = static_cast<int32_t>(strips.items_count);
  while (1 << p.warps_log2 < params.plan.warps) ++p.warps_log2;
  p.ldb_bytes = static_cast<uint32_t>(params.ldb * static_cast<int64_t>(sizeof(float)));
  p.rows = static_cast<int32_t>(params.pattern.rows);
  p.n = params.n;
  p.batch = params.batch;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  p.out = tile_output<float>(params);
  p.parts = {nullptr, strips.parts, Shape::kRows, part_pitch(params)};
  WARPTILE_RETURN_IF_ERROR(allocate_parts(params, context, &p.parts));
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(strips.items_count, kStripWarps >> p.warps_log2);
  shape.grid_y = ceil_div(params.n, Shape::kColumns);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kStripThreads;
  shape.shared_bytes = sizeof(float) * kStripWarps * Shape::kSharedElements;
  const auto run = [&]() {
    // Pairs are whole wherever there is a kernel of them.
    if constexpr (Shape::kPiece == 4) {
      if (!p.out.whole) return launch(context, spmm_strips_kernel<Shape, false>, shape, p);
    }
    return launch(context, spmm_strips_kernel<Shape, true>, shape, p);
  };
  WARPTILE_RETURN_IF_ERROR(run());
  return add_parts<float>(params, context, p.parts, strips.items + 4 * strips.items_count, strips.cuts);
}

// Four columns a lane, in pieces as the plan says.
template <int kRows, int kLanes>
Status launch_fours(const SpmmParams& params, const LaunchContext& context) {
  if (params.plan.piece == 2) return launch_shape<StripShape<kRows, kLanes, 1, 4, 2>>(params, context);
  return launch_shape<StripShape<kRows, kLanes, 1, 4>>(params, context);
}

}  // namespace

// Requires has_strips(params.plan, params.strips.rows) and what else spmm.cc checks.
Status launch_strips(const SpmmParams& params, const LaunchContext& context) {
  if (params.strips.rows == 4) {
    return params.plan.vector == 8 ? launch_shape<StripShape<4, 16, 2, 2>>(params, context) : launch_fours<4, 32>(params, context);
  }
  switch (params.plan.lanes) {
    case 8:
      return launch_fours<8, 8>(params, context);
    case 16:
      return launch_fours<8, 16>(params, context);
    default:
      return launch_fours<8, 32>(params, context);
  }
}

}  // namespace warptile::spmm_kernels
