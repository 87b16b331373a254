// Launches of the float32 tile kernel, and the sums of panels that it computes in parts.

#include "kernels/spmm/float_tiles.cuh"

namespace warptile::spmm_kernels {
namespace {

constexpr int kAddThreads = 128;

// Adds the parts of each row of a panel that comes in parts, in order: a thread a column.
__global__ void __launch_bounds__(kAddThreads) spmm_add_parts_kernel(const FloatTileParams p, const int32_t* cut_panels, int tile_rows) {
  follow_previous_kernel();
  const int32_t* cut = cut_panels + 4 * static_cast<int64_t>(blockIdx.x / tile_rows);
  const int inner = static_cast<int>(blockIdx.x % tile_rows);
  const int64_t row = static_cast<int64_t>(cut[0]) * tile_rows + inner;
  const int first = cut[1];
  const int last = first + cut[2];
  if (row >= p.rows) return;
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    const float* b = p.b + problem * p.b_stride;
    float* c = p.c + problem * p.c_stride + row * p.ldc;
    for (int64_t column = static_cast<int64_t>(blockIdx.y) * kAddThreads + threadIdx.x; column < p.n;
         column += static_cast<int64_t>(gridDim.y) * kAddThreads) {
      const float* source = p.partial + (problem * p.parts * tile_rows + inner) * p.n + column;
      float sum = 0;
#pragma unroll 8
      for (int64_t part = first; part < last; ++part) sum += source[part * tile_rows * p.n];
      if (isnan(sum)) sum = exact_element<float>(p.stored, b + column, p.ldb, static_cast<int>(row));
      c[column] = p.beta == 0 ? p.alpha * sum : fmaf(p.beta, c[column], p.alpha * sum);
    }
  }
}

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
  p.c = static_cast<float*>(params.c);
  p.ldc = params.ldc;
  p.alpha = params.alpha;
  p.beta = params.beta;
  p.batch = params.batch;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  p.stored = stored_entries<float>(params);
  if (!cut) return launch(context, spmm_float_tiles_kernel<Shape, kVectors>, shape, p);

  p.items = tiles.items;
  p.parts = tiles.parts;
  const auto bytes = checked_product({params.batch, tiles.parts, Shape::kM, params.n, static_cast<int64_t>(sizeof(float))});
  if (!bytes) return Status::limit("spmm: the workspace has more bytes than 64 bits count");
  void* partial = nullptr;
  WARPTILE_RETURN_IF_ERROR(context.workspace->allocate(static_cast<size_t>(*bytes), &partial));
  p.partial = static_cast<float*>(partial);
  WARPTILE_RETURN_IF_ERROR(launch(context, spmm_float_tiles_kernel<Shape, kVectors>, shape, p));
  LaunchShape add;
  add.overlaps = true;
  add.grid_x = tiles.cuts * Shape::kM;
  add.grid_y = std::min(ceil_div(params.n, kAddThreads), kMaxGridYZ);
  add.grid_z = std::min(params.batch, kMaxGridYZ);
  add.threads = kAddThreads;
  return launch(context, spmm_add_parts_kernel, add, p, tiles.items + 4 * tiles.items_count, Shape::kM);
}

template <typename Shape>
Status launch_shape(const SpmmParams& params, const LaunchContext& context) {
  return takes_vectors(params) ? launch_vectors<Shape, true>(params, context) : launch_vectors<Shape, false>(params, context);
}

}  // namespace

// Requires has_float_tiles(params.plan, params.tiles.rows). Depth and number of the stages: what leaves room for two blocks.
Status launch_float_tiles(const SpmmParams& params, const LaunchContext& context) {
  if (params.tiles.rows == 64) return launch_shape<FloatTileShape<64, 128, 32, 4>>(params, context);
  if (params.plan.columns == 128) return launch_shape<FloatTileShape<32, 128, 32, 4>>(params, context);
  return launch_shape<FloatTileShape<32, 32, 64, 4>>(params, context);
}

}  // namespace warptile::spmm_kernels
