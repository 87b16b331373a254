// What the kernels share that work on the stored tiles of a mask: finding a tile, the stages of rows of A and B in shared memory, and
// writing the tile's elements.
#pragma once

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/mma.cuh"
#include "common/numeric.cuh"
#include "kernels/sddmm/config.h"

namespace warptile::sddmm_kernels {

// A stage holds 128 bytes of each row: eight chunks of 16 bytes.
constexpr int kStageRowBytes = 128;
constexpr int kStageChunks = kStageRowBytes / kVectorBytes;
template <typename T>
constexpr int kStageDepth = kStageRowBytes / static_cast<int>(sizeof(T));

// What a block's tile stores. The map of tiles is part of the pattern: written by uploads alone, never by a kernel, and so read before the
// kernel that runs before has ended.
struct BlockTile {
  int first_entry, entries;
  int first_unit, units;
};

__device__ __forceinline__ BlockTile find_tile(const SddmmParams& p, int64_t index) {
  const int4 here = reinterpret_cast<const int4*>(p.tiles.table)[index];
  const int4 next = reinterpret_cast<const int4*>(p.tiles.table)[index + 1];
  return {here.z, next.z - here.z, here.w, next.w - here.w};
}

// The first row and column of a tile. Where every tile is stored they follow from its index, and no load holds up the operands.
template <int kRows, int kColumns>
__device__ __forceinline__ int2 tile_origin(const SddmmParams& p, int64_t index) {
  if (p.tiles.every_column > 0) {
    const int panel = static_cast<int>(index / p.tiles.every_column);
    return {panel * kRows, static_cast<int>(index - static_cast<int64_t>(panel) * p.tiles.every_column) * kColumns};
  }
  const int2 place = *reinterpret_cast<const int2*>(p.tiles.table + 4 * index);
  return {place.x * kRows, place.y * kColumns};
}

// Begins copying the shifts of a tile's rows.
template <int kRows, int kThreads>
__device__ __forceinline__ void copy_shifts(const SddmmParams& p, int64_t index, int32_t* shifts) {
  static_assert(kRows / 4 <= kThreads, "a chunk a thread");
  const int chunk = threadIdx.x * 4;
  if (chunk < kRows) copy_async_16(shared_address(shifts + chunk), p.tiles.shifts + index * kRows + chunk, true);
}

// Copies rows of a dense operand, 128 bytes a step: eight threads share a row. Zeros beyond the operand. Chunk c of row r lies at c ^ (r % 8) or,
// with kRepeats, at c, and the first `distinct` chunks, a power of two, fill the row again and again.
template <typename T, int kRows, int kThreads, bool kRepeats, bool kVectors>
class RowCopies {
 public:
  __device__ __forceinline__ RowCopies(const T* source, int first, int64_t rows, int64_t stride, int distinct = kStageChunks)
      : distinct_(distinct) {
    const int chunk = threadIdx.x % kStageChunks;
    const int row = threadIdx.x / kStageChunks;
    place_ = row * kStageRowBytes + (kRepeats ? chunk : chunk ^ (row % kStageChunks)) * kVectorBytes;
    rows_ = static_cast<int>(rows) - first - row;
    column_ = (chunk & (distinct - 1)) * kChunk;
    from_ = source + (static_cast<int64_t>(first) + row) * stride + column_;
  }

  // Columns from `depth` on, of `columns`. `stride` is that of the constructor.
  __device__ __forceinline__ void begin(unsigned char* target, int64_t stride, int64_t depth, int64_t columns) const {
    const int64_t left = columns - depth - column_;
    const T* from = from_ + depth;
#pragma unroll
    for (int i = 0; i < kEach; ++i, from += kTogether * stride) {
      unsigned char* to = target + place_ + i * kTogether * kStageRowBytes;
      const bool inside = i * kTogether < rows_ && left > 0;
      if constexpr (kVectors) {
        if (kRepeats && distinct_ < kStageChunks) copy_async_cached<kVectorBytes>(shared_address(to), inside ? from : from_, inside);
        else copy_async_16(shared_address(to), inside ? from : from_, inside);
      } else if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int v = 0; v < kChunk; ++v) copy_async_cached<4>(shared_address(to) + v * sizeof(T), inside ? from + v : from_, inside && v < left);
      } else {
        Pack<T, kChunk> pack;
#pragma unroll
        for (int v = 0; v < kChunk; ++v) pack.items[v] = inside && v < left ? from[v] : from_float<T>(0.0f);
        store_pack(reinterpret_cast<T*>(to), pack);
      }
    }
  }

 private:
  static constexpr int kChunk = kVectorBytes / static_cast<int>(sizeof(T));
  static constexpr int kTogether = kThreads / kStageChunks;  // rows
  static constexpr int kEach = kRows / kTogether;
  static_assert(kRows % kTogether == 0 && kTogether % kStageChunks == 0, "a thread's rows share a place in the swizzle");
  const T* from_;
  int distinct_;
  int rows_;  // from the thread's first row on
  int column_;
  int place_;
};

// The rows of A and B of one tile, Shape::kDepth columns a step, through Shape::kStages stages of shared memory: kRows rows of A in a
// stage, and kColumns of B after them.
template <typename T, typename Shape, bool kRepeats, bool kVectors>
class StagePipeline {
 public:
  __device__ __forceinline__ StagePipeline(const SddmmParams& p, int64_t problem, int2 origin, unsigned char* stages,
                                           int distinct = kStageChunks)
      : p_(p),
        a_(static_cast<const T*>(p.a) + problem * p.a_stride, origin.x, p.pattern.rows, p.lda, distinct),
        b_(static_cast<const T*>(p.b) + problem * p.b_stride, origin.y, p.pattern.columns, p.ldb, distinct),
        stages_(stages),
        steps_(static_cast<int>((p.depth + Shape::kDepth - 1) / Shape::kDepth)) {}

  // Begins the copies of all stages but one.
  __device__ __forceinline__ void begin() const {
#pragma unroll
    for (int step = 0; step < Shape::kStages - 1; ++step) load(step);
  }

  // Calls `multiply(stage)` with each step's stage in turn, while later ones are copied. Afterwards all threads are done with them, and
  // all copies have arrived, the tile's shifts too.
  template <typename Multiply>
  __device__ __forceinline__ void run(Multiply multiply) const {
    for (int step = 0; step < steps_; ++step) {
      wait_copies<Shape::kStages - 2>();
      // The stage of this step has arrived for all threads, and all are done with that of the step before, which `load` fills.
      __syncthreads();
      load(step + Shape::kStages - 1);
      multiply(stages_ + step % Shape::kStages * Shape::kStageBytes);
    }
    wait_copies<0>();
    __syncthreads();
  }

 private:
  __device__ __forceinline__ void load(int step) const {
    if (step < steps_) {
      unsigned char* stage = stages_ + step % Shape::kStages * Shape::kStageBytes;
      const int64_t depth = static_cast<int64_t>(step) * Shape::kDepth;
      a_.begin(stage, p_.lda, depth, p_.depth);
      b_.begin(stage + Shape::kRows * kStageRowBytes, p_.ldb, depth, p_.depth);
    }
    commit_copies();
  }

  const SddmmParams& p_;
  const RowCopies<T, Shape::kRows, Shape::kThreads, kRepeats, kVectors> a_;
  const RowCopies<T, Shape::kColumns, Shape::kThreads, kRepeats, kVectors> b_;
  unsigned char* const stages_;
  const int steps_;
};

// The launch of a kernel that works on tiles: its shared memory holds the shifts, and the stages or, in their place, `sums` bytes. Planners
// know how much that is (lib/ops/sddmm-needs.ts).
template <typename Shape>
LaunchShape tile_launch(const SddmmParams& params, int64_t sums) {
  const int64_t steps = std::max<int64_t>(1, ceil_div(params.depth, Shape::kDepth));
  LaunchShape shape;
  shape.overlaps = true;
  shape.grid_x = params.tiles.count;
  shape.grid_y = std::min(params.batch, kMaxGridYZ);
  shape.threads = Shape::kThreads;
  shape.shared_bytes = std::max(std::min<int64_t>(steps, Shape::kStages) * Shape::kStageBytes, sums) +
                       Shape::kRows * sizeof(int32_t);
  return shape;
}

// `value` as the mask's element `element` of a problem.
template <typename T>
__device__ __forceinline__ void store_element(const SddmmParams& p, int64_t problem, int64_t element, float value) {
  value *= p.alpha;
  if (p.factors != nullptr) value *= to_float(static_cast<const T*>(p.factors)[problem * p.factors_stride + element]);
  static_cast<T*>(p.out)[problem * p.out_stride + element] = from_float<T>(value);
}

// The entries of a tile as a thread takes them: kTogether at once, kThreads apart; 0 past the last.
template <int kThreads, int kTogether>
struct TileEntries {
  const uint16_t* entries;
  int count;

  __device__ __forceinline__ TileEntries(const SddmmParams& p, const BlockTile& tile)
      : entries(p.tiles.entries + tile.first_entry), count(tile.entries) {}

  __device__ __forceinline__ void load(int entry, uint32_t (&loaded)[kTogether]) const {
#pragma unroll
    for (int i = 0; i < kTogether; ++i) loaded[i] = entry + i * kThreads < count ? entries[entry + i * kThreads] : 0;
  }
};

// Writes the elements of a tile: neighbouring threads neighbouring elements. Made early, it has the first entries loaded by the time they
// are needed.
template <typename T, int kThreads>
class ElementWriter {
 public:
  __device__ __forceinline__ ElementWriter(const SddmmParams& p, const BlockTile& tile) : entries_(p, tile) {
    entries_.load(threadIdx.x, early_);
  }

  // `value_of(row, column)` is the sum of an element at (row, column) of the tile.
  template <typename ValueOf>
  __device__ __forceinline__ void write(const SddmmParams& p, int64_t problem, const int32_t* shifts, ValueOf value_of) const {
    uint32_t now[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) now[i] = early_[i];
    for (int entry = threadIdx.x; entry < entries_.count; entry += kTogether * kThreads) {
      uint32_t next[kTogether];
      entries_.load(entry + kTogether * kThreads, next);
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const int at = entry + i * kThreads;
        if (at >= entries_.count) break;
        const int row = now[i] >> 8;
        store_element<T>(p, problem, at + static_cast<int64_t>(shifts[row]), value_of(row, static_cast<int>(now[i] & 255)));
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) now[i] = next[i];
    }
  }

 private:
  static constexpr int kTogether = 4;

  TileEntries<kThreads, kTogether> entries_;
  uint32_t early_[kTogether];
};

}  // namespace warptile::sddmm_kernels
