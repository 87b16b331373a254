// Copies of matrices, row by row, to other distances of rows.   target[p, i, j] = source[p, i, j], or 0 past the source's columns
// Layout    source [batch, rows, columns], target [batch, rows, target_columns]; up to two copies in one launch
// Tiling    kRows rows x kAcross columns a thread, threads side by side along a row; blocks along rows, columns, and copies of problems
// Memory    no shared memory
// Roofline  each element read and written once
// Numerics  elements are copied as they are, NaN included
// Requires  nothing of alignment
// Source    no paper

#include "api/padded.h"

#include <algorithm>

#include "common/checked.h"
#include "common/launch.cuh"
#include "common/workspace.h"

namespace warptile {
namespace {

constexpr int kThreads = 256;
constexpr int kMostLanesLog2 = 5;
constexpr int64_t kLineBytes = 128;
constexpr int64_t kVectorBytes = 16;

// Columns and distances in words.
struct RowCopy {
  const void* source = nullptr;
  void* target = nullptr;
  int64_t rows = 0;
  int64_t batch = 1;
  int64_t columns = 0;
  int64_t source_pitch = 0, source_stride = 0;
  int64_t target_columns = 0;
  int64_t target_pitch = 0, target_stride = 0;
};

struct RowCopies {
  RowCopy items[2];
  int count = 0;
};

// kRows x kAcross loads in flight a thread.
template <typename Word, int kRows, int kAcross>
__global__ void __launch_bounds__(kThreads) copy_rows_kernel(const __grid_constant__ RowCopies p, int lanes_log2, int64_t batch) {
  await_previous_kernel();
  const int64_t apart = kThreads >> lanes_log2;
  const int64_t across = int64_t{kAcross} << lanes_log2;
  const int64_t first_row = blockIdx.x * apart * kRows + (threadIdx.x >> lanes_log2);
  const int lane = threadIdx.x & ((1 << lanes_log2) - 1);
  // The grid holds at most 65,535 pieces of rows, and problems of both copies: the rest follows in these loops.
  for (int64_t z = blockIdx.z; z < batch * p.count; z += gridDim.z) {
    const RowCopy& copy = p.items[z % p.count];
    const int64_t problem = z / p.count;
    if (problem >= copy.batch) continue;
    const Word* source = static_cast<const Word*>(copy.source) + problem * copy.source_stride;
    Word* target = static_cast<Word*>(copy.target) + problem * copy.target_stride;
    for (int64_t first_column = blockIdx.y * across + lane; first_column < copy.target_columns; first_column += gridDim.y * across) {
      Word words[kRows][kAcross];
#pragma unroll
      for (int u = 0; u < kRows; ++u) {
#pragma unroll
        for (int v = 0; v < kAcross; ++v) {
          const int64_t row = first_row + u * apart;
          const int64_t column = first_column + (static_cast<int64_t>(v) << lanes_log2);
          words[u][v] = row < copy.rows && column < copy.columns ? source[row * copy.source_pitch + column] : Word{0};
        }
      }
#pragma unroll
      for (int u = 0; u < kRows; ++u) {
#pragma unroll
        for (int v = 0; v < kAcross; ++v) {
          const int64_t row = first_row + u * apart;
          const int64_t column = first_column + (static_cast<int64_t>(v) << lanes_log2);
          if (row < copy.rows && column < copy.target_columns) target[row * copy.target_pitch + column] = words[u][v];
        }
      }
    }
  }
}

template <typename Word, int kRows, int kAcross>
Status launch_shape(const RowCopies& copies, int64_t rows, int64_t columns, int64_t batch, const LaunchContext& context) {
  int lanes_log2 = 0;
  while (lanes_log2 < kMostLanesLog2 && int64_t{1} << lanes_log2 < columns) ++lanes_log2;
  LaunchShape shape;
  shape.overlaps = true;
  shape.threads = kThreads;
  shape.grid_x = ceil_div(rows, (kThreads >> lanes_log2) * kRows);
  shape.grid_y = std::min(ceil_div(columns, int64_t{kAcross} << lanes_log2), kMaxGridYZ);
  shape.grid_z = std::min(batch * copies.count, kMaxGridYZ);
  return launch(context, copy_rows_kernel<Word, kRows, kAcross>, shape, copies, lanes_log2, batch);
}

template <typename Word>
Status launch_copies(const RowCopies& copies, const LaunchContext& context) {
  int64_t rows = 0, columns = 0, batch = 0;
  for (int i = 0; i < copies.count; ++i) {
    rows = std::max(rows, copies.items[i].rows);
    columns = std::max(columns, copies.items[i].target_columns);
    batch = std::max(batch, copies.items[i].batch);
  }
  // Small copies take more blocks, large ones more at a time.
  constexpr int64_t kLarge = int64_t{1} << 20;
  if (rows * columns * batch < kLarge) return launch_shape<Word, 4, 1>(copies, rows, columns, batch, context);
  return columns > 64 ? launch_shape<Word, 4, 4>(copies, rows, columns, batch, context)
                      : launch_shape<Word, 16, 1>(copies, rows, columns, batch, context);
}

// Elements of two bytes go in pairs where everything is even.
bool even(const RowCopy& copy) {
  const auto address = reinterpret_cast<uintptr_t>(copy.source) | reinterpret_cast<uintptr_t>(copy.target);
  const int64_t sizes = copy.columns | copy.source_pitch | copy.source_stride | copy.target_columns | copy.target_pitch |
                        copy.target_stride;
  return address % sizeof(uint32_t) == 0 && sizes % 2 == 0;
}

Status copy_rows(RowCopies copies, DType dtype, const LaunchContext& context) {
  if (dtype_bytes(dtype) == sizeof(uint32_t)) return launch_copies<uint32_t>(copies, context);
  if (!even(copies.items[0]) || (copies.count > 1 && !even(copies.items[1]))) return launch_copies<uint16_t>(copies, context);
  for (RowCopy& copy : copies.items) {
    for (int64_t* size : {&copy.columns, &copy.source_pitch, &copy.source_stride, &copy.target_columns, &copy.target_pitch,
                          &copy.target_stride}) {
      *size /= 2;
    }
  }
  return launch_copies<uint32_t>(copies, context);
}

// An operand of `batch` problems; all share it where the stride is 0.
struct Operand {
  const void* data = nullptr;
  int64_t rows = 0, columns = 0, pitch = 0, stride = 0;
  int64_t batch = 1;

  int64_t count() const { return stride == 0 ? 1 : batch; }
};

// Its copy: rows of whole vectors, which begin where cache lines do or divide them evenly.
struct PaddedCopy {
  void* data = nullptr;
  int64_t columns = 0, pitch = 0, stride = 0;
};

Status allocate_copy(const Operand& operand, DType dtype, const LaunchContext& context, PaddedCopy* copy) {
  const int64_t bytes_each = static_cast<int64_t>(dtype_bytes(dtype));
  const int64_t row = round_up(operand.columns * bytes_each, kVectorBytes);
  int64_t unit = kVectorBytes;
  while (unit < row && unit < kLineBytes) unit *= 2;
  copy->columns = row / bytes_each;
  copy->pitch = round_up(row, unit) / bytes_each;
  WARPTILE_RETURN_IF_ERROR(
      allocate_workspace(context, "padded copies", {operand.count(), operand.rows, copy->pitch, bytes_each}, &copy->data));
  copy->stride = operand.stride == 0 ? 0 : operand.rows * copy->pitch;
  return Status::ok();
}

RowCopy to_copy(const Operand& operand, const PaddedCopy& copy) {
  return {operand.data,   copy.data,    operand.rows, operand.count(), operand.columns, operand.pitch,
          operand.stride, copy.columns, copy.pitch,   copy.stride};
}

}  // namespace

Status spmm_padded(const SpmmParams& params, const LaunchContext& context) {
  const SparsePattern& pattern = params.pattern;
  if (pattern.rows == 0 || params.n == 0 || params.batch == 0) return Status::ok();
  const Operand b{params.b, pattern.columns, params.n, params.ldb, params.b_stride, params.batch};
  PaddedCopy copy;
  WARPTILE_RETURN_IF_ERROR(allocate_copy(b, params.dtype, context, &copy));
  WARPTILE_RETURN_IF_ERROR(copy_rows({{to_copy(b, copy)}, 1}, params.dtype, context));

  SpmmParams padded = params;
  padded.b = copy.data;
  padded.ldb = copy.pitch;
  padded.b_stride = copy.stride;
  padded.padded = true;
  return spmm(padded, context);
}

Status sddmm_padded(const SddmmParams& params, const LaunchContext& context) {
  const SparsePattern& pattern = params.pattern;
  if (pattern.stored == 0 || params.batch == 0) return Status::ok();
  const Operand a{params.a, pattern.rows, params.depth, params.lda, params.a_stride, params.batch};
  const Operand b{params.b, pattern.columns, params.depth, params.ldb, params.b_stride, params.batch};
  PaddedCopy a_copy, b_copy;
  WARPTILE_RETURN_IF_ERROR(allocate_copy(a, params.dtype, context, &a_copy));
  WARPTILE_RETURN_IF_ERROR(allocate_copy(b, params.dtype, context, &b_copy));
  WARPTILE_RETURN_IF_ERROR(copy_rows({{to_copy(a, a_copy), to_copy(b, b_copy)}, 2}, params.dtype, context));

  SddmmParams padded = params;
  padded.depth = a_copy.columns;
  padded.a = a_copy.data;
  padded.lda = a_copy.pitch;
  padded.a_stride = a_copy.stride;
  padded.b = b_copy.data;
  padded.ldb = b_copy.pitch;
  padded.b_stride = b_copy.stride;
  return sddmm(padded, context);
}

}  // namespace warptile
