// SDDMM on Hopper's tensor cores, CSR mask.    S[p] = alpha factor[p] (A B^T)[i, col[p]], i the row of element p
// Layout    mask: its stored tiles of 128 x 128 (api/sddmm.h);  A [m,k];  B [n,k];  S [nnz]
// Tiling    two blocks a multiprocessor, which take tiles in turn; a block is two warpgroups, 64 rows of A each:
//
//               thread 0   | copies rows of A and B, kDepth columns | ...   a ring of kStages stages, each a barrier for "full"
//               all            | wgmma m64 n128 k16, kDepth / 16 times | ...    and one for "empty"
//
//           The products go to shared memory, from where all threads take those that the mask stores. Meanwhile the other block
//           multiplies, and the copies of both run ahead into their next tiles. No warps of their own copy: with them a block had more
//           than two warps for some scheduler, and a thread 96 registers instead of 128.
// Memory    shared: kStages times 256 kDepth elements, and 32 KiB of products: rounded ones of the whole tile or, where they are still to be
//           scaled by factors, floats of half of it at a time; accumulators 64 a thread
// Roofline  rows of A and B once a tile from L2, or 2 k products a tile element on the tensor cores
// Numerics  products exact, float32 sums by the tensor core (16 at a time) over k in order: bitwise repeatable. Products that the mask
//           leaves out are computed and dropped: NaN and infinities in them go nowhere.
// Requires  float16 or bfloat16; compute capability 9.0; k at least 1; k, lda, ldb and the strides multiples of 8, 16-byte aligned bases
// Source    dense tiles sampled by the mask; pipeline as PTX ISA and the CUDA C++ Programming Guide describe it
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/hopper.cuh"
#include "common/launch.cuh"
#include "common/tensor_map.h"
#include "common/wgmma.cuh"
#include "kernels/sddmm/tile.cuh"

namespace warptile::sddmm_kernels {

struct WarpgroupTile {
  static constexpr int kRows = 128, kColumns = 128, kDepth = 64, kStages = 2;
  static constexpr int kGroups = kRows / 64;
  static constexpr int kWarps = 4 * kGroups;
  static constexpr int kThreads = kWarps * kWarpSize;
  static constexpr int kBlocks = 2;  // of a multiprocessor
  static constexpr int kRowBytes = kDepth * 2;
  static constexpr int kOperandBytes = kRows * kRowBytes;
  static constexpr int kStageBytes = 2 * kOperandBytes;
  // In shared memory, after the stages.
  static constexpr int kProducts = kStages * kStageBytes;
  static constexpr int kShifts = kProducts + kRows * kColumns * 2;
  static constexpr int kBarriers = kShifts + kRows * 4;
  static constexpr int kSharedBytes = kBarriers + 16 * kStages;
  static_assert(kRows == kColumns, "operands have as many rows in a stage");
  static_assert(kRowBytes == 128, "rows of a stage are as long as the swizzle");
};

// The tile that a block works on: of all problems' tiles it takes every gridDim.x-th.
struct WarpgroupWork {
  uint32_t tile = blockIdx.x;
  uint32_t problem = 0;

  __device__ __forceinline__ explicit WarpgroupWork(const SddmmParams& p) { wrap(p); }
  __device__ __forceinline__ bool is_past(const SddmmParams& p) const { return problem >= p.batch; }
  __device__ __forceinline__ void advance(const SddmmParams& p) {
    tile += gridDim.x;
    wrap(p);
  }

 private:
  __device__ __forceinline__ void wrap(const SddmmParams& p) {
    const auto count = static_cast<uint32_t>(p.tiles.count);
    if (tile < count) return;
    problem += tile / count;
    tile %= count;
  }
};

#ifdef WARPTILE_HOPPER

// A place in the ring of stages.
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void advance() {
    if (++stage < WarpgroupTile::kStages) return;
    stage = 0;
    parity ^= 1;
  }
  __device__ __forceinline__ uint32_t full(uint32_t barriers) const { return barriers + 16 * stage; }
  __device__ __forceinline__ uint32_t empty(uint32_t barriers) const { return barriers + 16 * stage + 8; }
};

// The copies of all tiles of a block, one step after another; made by one thread.
class OperandCopies {
 public:
  __device__ __forceinline__ OperandCopies(const SddmmParams& p, int steps) : p_(p), steps_(steps), work_(p), later_(work_) {
    origin_ = tile_origin<WarpgroupTile::kRows, WarpgroupTile::kColumns>(p, work_.tile);
    look_ahead();
  }

  // Begins the next one, once the warpgroups are done with what its stage held.
  __device__ __forceinline__ void begin(const CUtensorMap* a_map, const CUtensorMap* b_map, uint32_t stages, uint32_t barriers) {
    if (work_.is_past(p_)) return;
    wait_barrier(place_.empty(barriers), place_.parity ^ 1);
    const uint32_t full = place_.full(barriers);
    const uint32_t target = stages + place_.stage * WarpgroupTile::kStageBytes;
    const int problem = static_cast<int>(work_.problem);
    arrive_expecting(full, WarpgroupTile::kStageBytes);
    copy_box(target, a_map, step_ * WarpgroupTile::kDepth, origin_.x, p_.a_stride == 0 ? 0 : problem, full);
    copy_box(target + WarpgroupTile::kOperandBytes, b_map, step_ * WarpgroupTile::kDepth, origin_.y, p_.b_stride == 0 ? 0 : problem, full);
    place_.advance();
    if (++step_ < steps_) return;
    step_ = 0;
    work_ = later_;
    origin_ = later_origin_;
    look_ahead();
  }

 private:
  __device__ __forceinline__ void look_ahead() {
    later_.advance(p_);
    if (!later_.is_past(p_)) later_origin_ = tile_origin<WarpgroupTile::kRows, WarpgroupTile::kColumns>(p_, later_.tile);
  }

  const SddmmParams& p_;
  const int steps_;
  RingPlace place_;
  WarpgroupWork work_, later_;
  int2 origin_, later_origin_;
  int step_ = 0;
};

// A warpgroup: the products of its 64 rows of a tile. Calls `release` when a stage may be filled again.
template <typename T, typename Release>
__device__ __forceinline__ void multiply_tile(int steps, uint32_t stages, uint32_t barriers, RingPlace& place, float (&sums)[64],
                                              Release&& release) {
  constexpr uint32_t kNear = 8 * WarpgroupTile::kRowBytes;
  const int group = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / (4 * kWarpSize), 0);
  uint32_t before = 0;
  for (int step = 0; step < steps; ++step) {
    wait_barrier(place.full(barriers), place.parity);
    const uint32_t at = stages + place.stage * WarpgroupTile::kStageBytes;
    const uint64_t a = group_operand<true>(at + group * 64 * WarpgroupTile::kRowBytes, kNear, 0);
    const uint64_t b = group_operand<true>(at + WarpgroupTile::kOperandBytes, kNear, 0);
    fence_group();
#pragma unroll
    for (int depth = 0; depth < WarpgroupTile::kDepth; depth += 16) multiply_add_rows(sums, a + (depth * 2 >> 4), b + (depth * 2 >> 4), T{});
    commit_group();
    // The products of the step before are done.
    wait_group<1>();
    if (step > 0) release(before);
    before = place.empty(barriers);
    place.advance();
  }
  wait_group<0>();
  release(before);
}

// Where a product lies in shared memory: eight rows of a fragment meet all banks, pair by pair of halves or four by four of floats.
template <typename E>
__device__ __forceinline__ int product_place(int row, int column) {
  return row * 128 + (column ^ (sizeof(E) == 2 ? row % 8 * 8 : row % 4 * 8));
}

// A warpgroup: puts its products there, those of row 0 first; rounded ones times alpha.
template <typename E>
__device__ __forceinline__ void store_products(const float (&sums)[64], float alpha, E* products) {
  const int lane = threadIdx.x % kWarpSize;
  const int first = static_cast<int>(threadIdx.x) / kWarpSize % 4 * 16 + lane / 4;
#pragma unroll
  for (int lower = 0; lower < 2; ++lower) {
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      Pack<E, 2> pair;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float sum = sums[4 * j + 2 * lower + i];
        if constexpr (sizeof(E) == 2) pair.items[i] = from_float<E>(alpha * sum);
        else pair.items[i] = sum;
      }
      store_pack(products + product_place<E>(first + 8 * lower, 8 * j + lane % 4 * 2), pair);
    }
  }
}

// Writes the elements of a tile, whose entries are ordered by row: neighbouring threads neighbouring elements. Made early, it has the first
// entries loaded by the time they are needed.
template <typename T, typename E, int kTogether>
class ProductWriter {
 public:
  __device__ __forceinline__ ProductWriter(const SddmmParams& p, const BlockTile& tile)
      : entries_(p, tile), entry_(static_cast<int>(threadIdx.x)) {
    entries_.load(entry_, now_);
  }

  // Those of rows from `first_row` to `past_row`, not included, which `products` holds. Rows come in order.
  __device__ __forceinline__ void write(const SddmmParams& p, int64_t problem, const int32_t* shifts, int first_row, int past_row,
                                        const E* products) {
    T* out = static_cast<T*>(p.out) + problem * p.out_stride;
    while (entry_ < entries_.count) {
      uint32_t next[kTogether];
      entries_.load(entry_ + kTogether * kThreads, next);
      bool rest = false;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int at = entry_ + i * kThreads;
        const int row = now_[i] >> 8;
        if (at >= entries_.count) continue;
        // Rounded products are those of all rows.
        if (sizeof(E) > 2 && (row < first_row || row >= past_row)) {
          rest = rest || row >= past_row;
          continue;
        }
        const E product = products[product_place<E>(row - first_row, now_[i] & 255)];
        const int64_t element = at + static_cast<int64_t>(shifts[row]);
        if constexpr (sizeof(E) == 2) out[element] = product;
        else store_element<T>(p, problem, element, product);
      }
      if (rest) return;
      entry_ += kTogether * kThreads;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) now_[i] = next[i];
    }
  }

 private:
  static constexpr int kThreads = WarpgroupTile::kThreads;

  TileEntries<kThreads, kTogether> entries_;
  int entry_;
  uint32_t now_[kTogether];
};

#endif

template <typename T, bool kFactors>
__global__ void __launch_bounds__(WarpgroupTile::kThreads, WarpgroupTile::kBlocks)
    sddmm_warpgroup_kernel(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
                           const __grid_constant__ SddmmParams p) {
#ifdef WARPTILE_HOPPER
  using E = std::conditional_t<kFactors, float, T>;
  constexpr int kPhases = kFactors ? WarpgroupTile::kGroups : 1;
  constexpr int kPhaseRows = WarpgroupTile::kRows / kPhases;
  // Swizzled rows count from multiples of 1024 bytes.
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t stages = shared_address(shared);
  const uint32_t barriers = stages + WarpgroupTile::kBarriers;
  auto* products = reinterpret_cast<E*>(shared + WarpgroupTile::kProducts);
  auto* shifts = reinterpret_cast<int32_t*>(shared + WarpgroupTile::kShifts);
  const bool copying = threadIdx.x == 0;
  if (copying) {
    prefetch_map(&a_map);
    prefetch_map(&b_map);
    for (int stage = 0; stage < WarpgroupTile::kStages; ++stage) {
      init_barrier(barriers + 16 * stage, 1);
      init_barrier(barriers + 16 * stage + 8, WarpgroupTile::kWarps);
    }
    fence_barrier_init();
  }
  const int steps = static_cast<int>((p.depth + WarpgroupTile::kDepth - 1) / WarpgroupTile::kDepth);
  OperandCopies copies(p, steps);
  WarpgroupWork next(p);
  BlockTile next_tile = find_tile(p, next.tile);
  follow_previous_kernel(p.plan.alone);
  if (copying) {
    for (int stage = 0; stage < WarpgroupTile::kStages; ++stage) copies.begin(&a_map, &b_map, stages, barriers);
  }
  // The barriers are ready.
  __syncthreads();
  RingPlace place;
  while (!next.is_past(p)) {
    const int64_t problem = next.problem;
    // In the shadow of the copies.
    copy_shifts<WarpgroupTile::kRows, WarpgroupTile::kThreads>(p, next.tile, shifts);
    commit_copies();
    ProductWriter<T, E, kFactors ? 2 : 8> writer(p, next_tile);
    next.advance(p);
    if (!next.is_past(p)) next_tile = find_tile(p, next.tile);

    float sums[64] = {};
    multiply_tile<T>(steps, stages, barriers, place, sums, [&](uint32_t empty) {
      if (threadIdx.x % kWarpSize == 0) arrive(empty);
      if (copying) copies.begin(&a_map, &b_map, stages, barriers);
      __syncwarp();
    });
    wait_copies<0>();
#pragma unroll
    for (int phase = 0; phase < kPhases; ++phase) {
      const int group = static_cast<int>(threadIdx.x) / (4 * kWarpSize);
      if (!kFactors) store_products<E>(sums, p.alpha, products + group * 64 * WarpgroupTile::kColumns);
      else if (group == phase) store_products<E>(sums, p.alpha, products);
      // The products and the shifts are in place.
      __syncthreads();
      writer.write(p, problem, shifts, phase * kPhaseRows, (phase + 1) * kPhaseRows, products);
      // All have read them. The shifts of the next tile may come.
      __syncthreads();
    }
  }
#endif
}

template <typename T>
Status launch_warpgroups(const SddmmParams& params, const LaunchContext& context) {
  const auto boxed = [&](const void* data, int64_t rows, int64_t stride, int64_t batch_stride, CUtensorMap* map) {
    BoxedTensor tensor;
    tensor.data = data;
    tensor.dtype = params.dtype;
    tensor.rows = rows;
    tensor.columns = params.depth;
    tensor.batch = batch_stride == 0 ? 1 : params.batch;
    tensor.row_stride = stride;
    tensor.batch_stride = batch_stride;
    tensor.box_rows = WarpgroupTile::kRows;
    tensor.box_columns = WarpgroupTile::kDepth;
    return make_tensor_map(tensor, map);
  };
  CUtensorMap a, b;
  WARPTILE_RETURN_IF_ERROR(boxed(params.a, params.pattern.rows, params.lda, params.a_stride, &a));
  WARPTILE_RETURN_IF_ERROR(boxed(params.b, params.pattern.columns, params.ldb, params.b_stride, &b));
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = std::min<int64_t>(params.tiles.count * params.batch, WarpgroupTile::kBlocks * context.limits->multiprocessors);
  shape.threads = WarpgroupTile::kThreads;
  shape.shared_bytes = WarpgroupTile::kSharedBytes;
  if (params.factors == nullptr) return launch(context, sddmm_warpgroup_kernel<T, false>, shape, a, b, params);
  return launch(context, sddmm_warpgroup_kernel<T, true>, shape, a, b, params);
}

}  // namespace warptile::sddmm_kernels
