// Launches of the strip kernel, and the sums of strips that it computes in parts.

#include "kernels/spmm/strips.cuh"

namespace warptile::spmm_kernels {
namespace {

constexpr int kAddThreads = 128;

// Adds the parts of each row of a strip that comes in parts, in order: a thread four columns. cuts[cuts]: strip, first part, parts, 0.
template <int kRows>
__global__ void __launch_bounds__(kAddThreads) spmm_add_strip_parts_kernel(const StripParams p, const int4* cuts) {
  follow_previous_kernel();
  const int4 cut = cuts[blockIdx.x / kRows];
  const int inner = static_cast<int>(blockIdx.x % kRows);
  const int4 whole = make_int4(cut.x, 0, 0, -1);
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    for (int64_t column = (static_cast<int64_t>(blockIdx.y) * kAddThreads + threadIdx.x) * 4; column < p.n;
         column += static_cast<int64_t>(gridDim.y) * kAddThreads * 4) {
      const float* source = p.partial + ((problem * p.parts + cut.y) * kRows + inner) * p.n + column;
      Pack<float, 4> total{};
#pragma unroll 4
      for (int64_t part = 0; part < cut.z; ++part) {
        const auto one = load_pack<float, 4>(source + part * kRows * p.n);
#pragma unroll
        for (int j = 0; j < 4; ++j) total.items[j] += one.items[j];
      }
      store_strip_row<kRows>(p, problem, whole, inner, column, total);
    }
  }
}

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
  p.parts = strips.parts;
  p.alpha = params.alpha;
  p.beta = params.beta;
  p.c = static_cast<float*>(params.c);
  p.ldc = params.ldc;
  p.c_stride = params.c_stride;
  p.stored = stored_entries<float>(params);
  if (strips.parts > 0) {
    const auto bytes = checked_product({params.batch, strips.parts, Shape::kRows, params.n, static_cast<int64_t>(sizeof(float))});
    if (!bytes) return Status::limit("spmm: the workspace has more bytes than 64 bits count");
    void* partial = nullptr;
    WARPTILE_RETURN_IF_ERROR(context.workspace->allocate(static_cast<size_t>(*bytes), &partial));
    p.partial = static_cast<float*>(partial);
  }
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(strips.items_count, kStripWarps >> p.warps_log2);
  shape.grid_y = ceil_div(params.n, Shape::kColumns);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kStripThreads;
  shape.shared_bytes = sizeof(float) * kStripWarps * Shape::kSharedElements;
  WARPTILE_RETURN_IF_ERROR(launch(context, spmm_strips_kernel<Shape>, shape, p));
  if (strips.parts == 0) return Status::ok();
  LaunchShape add;
  add.overlaps = true;
  add.grid_x = strips.cuts * Shape::kRows;
  add.grid_y = std::min(ceil_div(params.n, 4 * kAddThreads), kMaxGridYZ);
  add.grid_z = shape.grid_z;
  add.threads = kAddThreads;
  return launch(context, spmm_add_strip_parts_kernel<Shape::kRows>, add, p, p.items + strips.items_count);
}

}  // namespace

// Requires has_strips(params.plan, params.strips.rows) and what else spmm.cc checks.
Status launch_strips(const SpmmParams& params, const LaunchContext& context) {
  const auto run = [&](auto shape) { return launch_shape<decltype(shape)>(params, context); };
  const bool wide = params.plan.vector == 8;
  if (params.strips.rows == 4) return wide ? run(StripShape<4, 16, 2, 2>{}) : run(StripShape<4, 32, 1, 4>{});
  switch (params.plan.lanes) {
    case 8:
      return run(StripShape<8, 8, 1, 4>{});
    case 16:
      return run(StripShape<8, 16, 1, 4>{});
    default:
      return run(StripShape<8, 32, 1, 4>{});
  }
}

}  // namespace warptile::spmm_kernels
