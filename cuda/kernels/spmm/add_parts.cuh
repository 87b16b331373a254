// Sums of panels or strips of rows that are computed in parts.   C[i,:] = alpha sum_s parts[s,i,:] + beta C[i,:]
// Layout    parts [batch, count, rows, pitch], the parts of a panel one after another; cuts [cuts, 4]: panel, first part, parts, 0
// Tiling    a thread four columns of a row
// Memory    no shared memory
// Roofline  4 bytes a part and column; a launch of about 1 us
// Numerics  float32, parts in ascending order: bitwise repeatable. Sums that are NaN as in tile_output.cuh
// Requires  the pitch and bases of parts multiples of four elements
// Source    -
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/numeric.cuh"
#include "common/workspace.h"
#include "kernels/spmm/tile_output.cuh"

namespace warptile::spmm_kernels {

constexpr int kAddThreads = 128;

// The sums that a kernel leaves of parts.
struct PartSums {
  float* data = nullptr;  // [batch, parts, rows, pitch]
  int64_t count = 0;      // of a problem; 0 where no panel is cut
  int32_t rows = 0;       // of a panel
  int64_t pitch = 0;
};

template <typename T>
struct AddPartsParams {
  PartSums parts;
  const int4* cuts;
  int64_t fours;  // of columns of a row
  int64_t count;  // of them, of all cut panels
  const T* b;     // [batch, k, n]
  int64_t ldb;
  int64_t batch;
  int64_t b_stride;
  int64_t c_stride;
  TileOutput<T> out;
};

template <typename T>
__global__ void __launch_bounds__(kAddThreads) spmm_add_parts_kernel(const __grid_constant__ AddPartsParams<T> p) {
  follow_previous_kernel();
  const int64_t index = blockIdx.x * static_cast<int64_t>(kAddThreads) + threadIdx.x;
  if (index >= p.count) return;
  const auto cut_row = static_cast<uint32_t>(index / p.fours);
  const int64_t column = index % p.fours * 4;
  const int inner = static_cast<int>(cut_row % p.parts.rows);
  const int4 cut = p.cuts[cut_row / p.parts.rows];
  const int64_t row = static_cast<int64_t>(cut.x) * p.parts.rows + inner;
  if (row >= p.out.rows) return;
  const int64_t apart = p.parts.rows * p.parts.pitch;
  // The grid holds at most 65,535 problems: the rest follows in this loop.
  for (int64_t problem = blockIdx.z; problem < p.batch; problem += gridDim.z) {
    const float* source = p.parts.data + ((problem * p.parts.count + cut.y) * p.parts.rows + inner) * p.parts.pitch + column;
    Pack<float, 4> total{};
#pragma unroll 4
    for (int part = 0; part < cut.z; ++part) {
      const auto one = load_pack<float, 4>(source + part * apart);
#pragma unroll
      for (int j = 0; j < 4; ++j) total.items[j] += one.items[j];
    }
    const T* b = p.b + problem * p.b_stride + column;
    T* target = p.out.c + problem * p.c_stride + row * p.out.ldc + column;
    store_sums<T>(p.out, b, p.ldb, target, static_cast<int>(row), column, total);
  }
}

// Whole vectors of sums, also of the last columns.
inline int64_t part_pitch(const SpmmParams& params) { return round_up(params.n, 4); }

// Room for the sums of all parts; none where no panel is cut.
inline Status allocate_parts(const SpmmParams& params, const LaunchContext& context, PartSums* parts) {
  if (parts->count == 0) return Status::ok();
  const auto sizes = {params.batch, parts->count, int64_t{parts->rows}, parts->pitch, int64_t{sizeof(float)}};
  return allocate_workspace(context, "spmm", sizes, &parts->data);
}

// Adds them up, where panels were cut. cuts[cut_count, 4] follow the items of SpmmTiles or SpmmStrips.
template <typename T>
Status add_parts(const SpmmParams& params, const LaunchContext& context, const PartSums& parts, const int32_t* cuts, int64_t cut_count) {
  if (parts.count == 0) return Status::ok();
  AddPartsParams<T> p{};
  p.parts = parts;
  p.cuts = reinterpret_cast<const int4*>(cuts);
  p.fours = ceil_div(params.n, 4);
  p.count = cut_count * parts.rows * p.fours;
  p.b = static_cast<const T*>(params.b);
  p.ldb = params.ldb;
  p.batch = params.batch;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  p.out = tile_output<T>(params);
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = ceil_div(p.count, kAddThreads);
  shape.grid_z = std::min(params.batch, kMaxGridYZ);
  shape.threads = kAddThreads;
  return launch(context, spmm_add_parts_kernel<T>, shape, p);
}

}  // namespace warptile::spmm_kernels
