// Launches of the float32 tile kernel.

#include "kernels/spmm/add_parts.cuh"
#include "kernels/spmm/float_tiles.cuh"

namespace warptile::spmm_kernels {
namespace {

template <typename Shape, bool kVectors>
Status launch_vectors(const SpmmParams& params, const LaunchContext& context) {
  const SpmmTiles& tiles = params.tiles;
  const int64_t panels = ceil_div(params.pattern.rows, Shape::kM);
  LaunchShape shape;
  shape.overlaps = true;
  shape.cluster = params.plan.cluster;
  shape.grid_x = ceil_div(params.n, Shape::kN) * shape.cluster;
  const bool cut = tiles.parts > 0;
  shape.grid_y = cut ? tiles.items_count : panels;
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = Shape::kThreads;
  shape.shared_bytes = Shape::kSharedBytes;
  FloatTileParams p{};
  p.tiles = static_cast<const float*>(tiles.values);
  p.b = static_cast<const float*>(params.b);
  p.depth = static_cast<int32_t>(ceil_div(params.pattern.columns, kSpmmTileDepth));
  if (cut || tiles.count != panels * p.depth) p.panel_ptr = tiles.panel_ptr;
  p.tile_columns = tiles.columns;
  while (1 << p.cluster_log2 < shape.cluster) ++p.cluster_log2;
  p.rows = static_cast<int32_t>(params.pattern.rows);
  p.columns = static_cast<int32_t>(params.pattern.columns);
  p.ldb = params.ldb;
  p.n = params.n;
  p.out = tile_output<float>(params);
  p.batch = params.batch;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  if (!cut) return launch(context, spmm_float_tiles_kernel<Shape, kVectors>, shape, p);

  p.items = tiles.items;
  p.parts = {nullptr, tiles.parts, Shape::kM, part_pitch(params)};
  WARPTILE_RETURN_IF_ERROR(allocate_parts(params, context, &p.parts));
  WARPTILE_RETURN_IF_ERROR(launch(context, spmm_float_tiles_kernel<Shape, kVectors>, shape, p));
  return add_parts<float>(params, context, p.parts, tiles.items + 4 * tiles.items_count, tiles.cuts);
}

template <typename Shape>
Status launch_shape(const SpmmParams& params, const LaunchContext& context) {
  return reads_vectors(params) ? launch_vectors<Shape, true>(params, context) : launch_vectors<Shape, false>(params, context);
}

}  // namespace

// Requires has_float_tiles(params.plan, params.tiles.rows). Depth and number of the stages: what leaves room for two blocks.
Status launch_float_tiles(const SpmmParams& params, const LaunchContext& context) {
  using Tall = FloatTileShape<64, 128, 32, 4>;
  using Wide = FloatTileShape<32, 128, 32, 4>;
  // As lib/ops/spmm-float-tiles.ts has it.
  static_assert(Tall::kSharedBytes == 102'400 && Wide::kSharedBytes == 83'968);
  if (params.tiles.rows == 64) return launch_shape<Tall>(params, context);
  if (params.plan.columns == 128) return launch_shape<Wide>(params, context);
  return launch_shape<FloatTileShape<32, 32, 64, 4>>(params, context);
}

}  // namespace warptile::spmm_kernels
