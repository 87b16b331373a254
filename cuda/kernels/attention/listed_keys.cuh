// The keys of sparse attention: those that a row of blocks of a sparse pattern lists.
#pragma once

#include <cstdint>

#include "api/sparse_pattern.h"

namespace warptile::attention_kernels {

// The keys of one row of blocks, by position: 0, 1, 2, ... through its blocks from left to right.
class KeyList {
 public:
  __device__ KeyList(const SparsePattern& pattern, int64_t block_row)
      : blocks_(pattern.col + pattern.row_ptr[block_row]), width_(static_cast<uint32_t>(pattern.block_columns)) {
    const int count = pattern.row_ptr[block_row + 1] - pattern.row_ptr[block_row];
    size_ = static_cast<uint32_t>(count) * width_;
    if (count == 0) return;
    // Only the last block can reach past the matrix: its keys outside are the last of the list.
    const int64_t outside = (int64_t{blocks_[count - 1]} + 1) * width_ - pattern.columns;
    if (outside > 0) size_ -= static_cast<uint32_t>(outside);
  }

  __device__ int64_t size() const { return size_; }
  __device__ int64_t key(int64_t position) const {
    const uint32_t index = static_cast<uint32_t>(position);
    return int64_t{blocks_[index / width_]} * width_ + index % width_;
  }

 private:
  const int32_t* blocks_;
  // Columns are distinct, so a row has less than 2^31 + 64 positions: 32 bits hold them, and divide them faster.
  uint32_t size_;
  uint32_t width_;
};

// For attention_tile_kernel: the queries of one row of blocks, which all see the same keys.
class BlockRowKeys {
 public:
  struct Args {
    SparsePattern pattern;
    uint32_t heads;
    uint32_t block_rows;  // rows of blocks in the pattern
    uint32_t tiles;       // in a row of blocks
  };

  // Block = ((batch entry * heads + head) * rows of blocks + row of blocks) * tiles + tile.
  // The factors of a grid below 2^31 fit in 32 bits, whose division is one of a few instructions.
  __device__ BlockRowKeys(const Args& args, uint32_t block, int tile_rows)
      : keys_(args.pattern, block / args.tiles % args.block_rows) {
    const uint32_t block_row = block / args.tiles % args.block_rows;
    const uint32_t batch_head = block / args.tiles / args.block_rows;
    const int64_t inner = int64_t{block % args.tiles} * tile_rows;
    const int64_t query = int64_t{block_row} * args.pattern.block_rows + inner;
    const int64_t sequence = batch_head / args.heads;
    head_ = batch_head % args.heads;
    int64_t rows = args.pattern.block_rows - inner;
    if (rows > tile_rows) rows = tile_rows;
    if (rows > args.pattern.rows - query) rows = args.pattern.rows - query;
    rows_ = static_cast<int>(rows);
    query_token_ = sequence * args.pattern.rows + query;
    key_begin_ = sequence * args.pattern.columns;
    log_sum_exp_offset_ = int64_t{batch_head} * args.pattern.rows + query;
  }

  __device__ int rows() const { return rows_; }
  __device__ int64_t head() const { return head_; }
  __device__ int64_t query_token() const { return query_token_; }
  __device__ int64_t key_token(int64_t position) const { return key_begin_ + keys_.key(position); }
  __device__ int64_t log_sum_exp_offset() const { return log_sum_exp_offset_; }
  __device__ int64_t first(int) const { return 0; }
  __device__ int64_t last(int) const { return keys_.size() - 1; }

 private:
  KeyList keys_;
  int64_t head_;
  int64_t query_token_;
  int64_t key_begin_;
  int64_t log_sum_exp_offset_;
  int rows_;
};

}  // namespace warptile::attention_kernels
