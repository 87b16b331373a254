// cuBLAS's dense product of a sparse matrix written out densely, for the benchmark to compare with; float32 sums.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/context.h"
#include "common/dtype.h"
#include "peers/plan.h"

namespace warptile::peers {

// C = alpha A B + beta C for A in compressed rows of blocks (CSR has 1 x 1 blocks). Device pointers.
struct CublasDensified {
  DType dtype = DType::kFloat32;
  int64_t rows = 0;
  int64_t columns = 0;
  int block_rows = 1;
  int block_columns = 1;
  int64_t stored = 0;                // blocks
  const int32_t* row_ptr = nullptr;  // [rows / block_rows + 1]
  const int32_t* col = nullptr;      // [stored]
  const void* values = nullptr;      // [stored, block_rows, block_columns]
  int64_t n = 0;
  const void* b = nullptr;  // [columns, n], rows ldb apart
  int64_t ldb = 0;
  void* c = nullptr;  // [rows, n], rows ldc apart
  int64_t ldc = 0;
  float alpha = 1;
  float beta = 0;
};

// The library's file, or why there is none.
Status cublas_library(std::string* description);

// Makes a plan that holds a dense copy of A in `workspace`, which must outlive it: kUnsupported with the reason where the library
// is absent or does not take the problem.
Status prepare_cublas_densified(const CublasDensified& problem, cudaStream_t stream, Workspace& workspace,
                                std::unique_ptr<Plan>* plan);

}  // namespace warptile::peers
