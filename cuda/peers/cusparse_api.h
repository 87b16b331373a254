// What is used of cuSPARSE's C interface, declared here so that its header is not needed to build.
// Names, types and values: cuSPARSE documentation, "cuSPARSE Types Reference" and "cuSPARSE Generic API Functions".
#pragma once

#include <library_types.h>

#include <cstddef>
#include <cstdint>

#include "peers/dynamic_library.h"

namespace warptile::peers::cusparse_api {

// Opaque handles are pointers; enums are passed as int, which the C interface makes them.
using Handle = struct HandleTag*;
using SparseDescriptor = struct SparseDescriptorTag*;
using DenseDescriptor = struct DenseDescriptorTag*;
using Stream = void*;

enum Result : int { kSuccess = 0 };
enum Operation : int { kNonTranspose = 0, kTranspose = 1 };
enum IndexType : int { kIndex32 = 2 };
enum IndexBase : int { kBaseZero = 0 };
enum Order : int { kRowMajor = 2 };
enum SpmmAlgorithm : int { kSpmmDefault = 0, kSpmmCsr1 = 4, kSpmmCsr2 = 6, kSpmmCsr3 = 12, kSpmmBsr1 = 14 };
enum SddmmAlgorithm : int { kSddmmDefault = 0 };

// A matrix product's three functions differ in their last argument: size_t* for the buffer's size, else the buffer.
using Spmm = Result(Handle, Operation, Operation, const void* alpha, SparseDescriptor a, DenseDescriptor b,
                    const void* beta, DenseDescriptor c, cudaDataType compute, SpmmAlgorithm, void*);
using Sddmm = Result(Handle, Operation, Operation, const void* alpha, DenseDescriptor a, DenseDescriptor b,
                     const void* beta, SparseDescriptor c, cudaDataType compute, SddmmAlgorithm, void*);

struct Functions {
  Result (*create)(Handle*) = nullptr;
  Result (*destroy)(Handle) = nullptr;
  Result (*get_version)(Handle, int*) = nullptr;
  Result (*set_stream)(Handle, Stream) = nullptr;
  const char* (*error_name)(Result) = nullptr;
  Result (*create_csr)(SparseDescriptor*, int64_t rows, int64_t columns, int64_t nnz, void* row_ptr, void* col,
                       void* values, IndexType row_type, IndexType col_type, IndexBase, cudaDataType) = nullptr;
  // Since CUDA 12.1; null before.
  Result (*create_bsr)(SparseDescriptor*, int64_t block_row_count, int64_t block_column_count, int64_t blocks,
                       int64_t block_rows, int64_t block_columns, void* row_ptr, void* col, void* values,
                       IndexType row_type, IndexType col_type, IndexBase, cudaDataType, Order) = nullptr;
  Result (*destroy_sparse)(SparseDescriptor) = nullptr;
  Result (*create_dense)(DenseDescriptor*, int64_t rows, int64_t columns, int64_t ld, void* values, cudaDataType,
                         Order) = nullptr;
  Result (*destroy_dense)(DenseDescriptor) = nullptr;
  Spmm* spmm_buffer_size = nullptr;
  Spmm* spmm_preprocess = nullptr;
  Spmm* spmm = nullptr;
  Sddmm* sddmm_buffer_size = nullptr;
  Sddmm* sddmm_preprocess = nullptr;
  Sddmm* sddmm = nullptr;
};

// Null, with the reason in `problem`, where the library is absent or lacks a function. Opened once a process.
const Functions* load(std::string* problem);
// The file it came from; empty where it is absent.
const std::string& library_file();

}  // namespace warptile::peers::cusparse_api
