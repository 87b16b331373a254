// Sets of columns in shared memory, for copies of a sparse matrix that leave out the columns in which nothing is stored.
#pragma once

#include <cstdint>

#include "common/numeric.cuh"

namespace warptile::spmm_kernels {

constexpr int kMarkBits = 32;
// Entries that a thread loads at once: rows as wide as the matrix would take hundreds of loads one after another.
constexpr int kLoads = 8;

// Calls each(column) for the entries [begin, end) of a pattern; by all kThreads threads of the block.
template <int kThreads, typename Each>
__device__ __forceinline__ void each_column(const int32_t* columns, int64_t begin, int64_t end, Each each) {
  for (int64_t start = begin + threadIdx.x; start < end; start += kLoads * kThreads) {
    int32_t found[kLoads];
#pragma unroll
    for (int k = 0; k < kLoads; ++k) found[k] = start + k * kThreads < end ? columns[start + k * kThreads] : -1;
#pragma unroll
    for (int k = 0; k < kLoads; ++k) {
      if (found[k] >= 0) each(found[k]);
    }
  }
}

// A bit for each column of a range, `words` words of them, and how many are set before each word.
struct Marks {
  uint32_t* bits;
  uint32_t* before;
  int words;

  // By all threads of the block.
  __device__ __forceinline__ void clear() const {
    for (int i = threadIdx.x; i < words; i += blockDim.x) bits[i] = 0;
    __syncthreads();
  }

  __device__ __forceinline__ void set(int column) const {
    uint32_t* word = bits + column / kMarkBits;
    const uint32_t bit = 1u << column % kMarkBits;
    // Neighbouring entries set the same one: most are set already.
    if ((*word & bit) == 0) atomicOr(word, bit);
  }

  // Counts what was set; by all threads of the block.
  __device__ __forceinline__ void count() const {
    __syncthreads();
    if (threadIdx.x < kWarpSize) {
      const int lane = threadIdx.x;
      uint32_t sum_before = 0;
      for (int i = 0; i < words; i += kWarpSize) {
        const uint32_t own = i + lane < words ? __popc(bits[i + lane]) : 0;
        uint32_t sum = own;
#pragma unroll
        for (int offset = 1; offset < kWarpSize; offset *= 2) {
          const uint32_t other = __shfl_up_sync(kFullMask, sum, offset);
          if (lane >= offset) sum += other;
        }
        if (i + lane < words) before[i + lane] = sum_before + sum - own;
        sum_before += __shfl_sync(kFullMask, sum, kWarpSize - 1);
      }
    }
    __syncthreads();
  }

  // How many are set before one that is set.
  __device__ __forceinline__ int place(int column) const {
    const int word = column / kMarkBits;
    return static_cast<int>(before[word] + __popc(bits[word] & ((1u << column % kMarkBits) - 1)));
  }

  // Writes those that are set, plus `first`, in order, `most` of them at most; by all threads of the block.
  __device__ __forceinline__ void list(int first, int most, int32_t* columns) const {
    for (int word = threadIdx.x; word < words; word += blockDim.x) {
      int place = static_cast<int>(before[word]);
      for (uint32_t rest = bits[word]; rest != 0 && place < most; rest &= rest - 1, ++place) {
        columns[place] = first + word * kMarkBits + __ffs(rest) - 1;
      }
    }
  }
};

}  // namespace warptile::spmm_kernels
