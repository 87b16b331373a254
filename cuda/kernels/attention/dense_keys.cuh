// The keys of dense attention: those of the query's own sequence, between two limits that move with the query.
#pragma once

#include <cstdint>

namespace warptile::attention_kernels {

struct DenseKeys {
  struct Args {
    const int32_t* cumulative_q;  // [batch + 1] or null
    const int32_t* cumulative_k;  // [batch + 1] or null
    int64_t seq_q;
    int64_t seq_k;
    int64_t total_q;
    int64_t total_k;
    uint32_t heads;
    uint32_t tiles;  // of the longest sequence
    int64_t left;
    int64_t right;
    bool top_left;
  };

  // Block = (batch entry * heads + head) * tiles + tile. The factors of a grid below 2^31 fit in 32 bits, whose division is
  // one of a few instructions.
  __device__ DenseKeys(const Args& args, uint32_t block, int tile_rows) : args_(args) {
    const int64_t sequence = block / args.tiles / args.heads;
    const int64_t row = int64_t{block % args.tiles} * tile_rows;
    head_ = block / args.tiles % args.heads;
    int64_t q_begin = sequence * args.seq_q;
    int64_t q_length = args.seq_q;
    key_begin_ = sequence * args.seq_k;
    key_count_ = args.seq_k;
    // Clamped to the tokens that exist: checked on the host, but a kernel does not trust device memory with its bounds.
    if (args.cumulative_q != nullptr) {
      q_begin = clamp(args.cumulative_q[sequence], 0, args.total_q);
      q_length = clamp(args.cumulative_q[sequence + 1], q_begin, args.total_q) - q_begin;
      key_begin_ = clamp(args.cumulative_k[sequence], 0, args.total_k);
      key_count_ = clamp(args.cumulative_k[sequence + 1], key_begin_, args.total_k) - key_begin_;
    }
    const int64_t rest = q_length - row;
    rows_ = static_cast<int>(rest < tile_rows ? rest : tile_rows);
    query_token_ = q_begin + row;
    log_sum_exp_offset_ = args.cumulative_q != nullptr ? head_ * args.total_q + query_token_
                                                       : (sequence * args.heads + head_) * args.seq_q + row;
    position_ = row + (args.top_left ? 0 : key_count_ - q_length);
  }

  __device__ int rows() const { return rows_; }
  __device__ int64_t head() const { return head_; }
  __device__ int64_t query_token() const { return query_token_; }
  __device__ int64_t key_token(int64_t position) const { return key_begin_ + position; }
  __device__ int64_t log_sum_exp_offset() const { return log_sum_exp_offset_; }
  __device__ int64_t first(int row) const {
    const int64_t key = position_ + row - args_.left;
    return key < 0 ? 0 : key;
  }
  __device__ int64_t last(int row) const {
    const int64_t key = position_ + row + args_.right;
    return key < key_count_ ? key : key_count_ - 1;
  }

 private:
  static __device__ int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
  }

  const Args& args_;
  int64_t head_;
  int64_t query_token_;
  int64_t key_begin_;
  int64_t key_count_;
  int64_t log_sum_exp_offset_;
  int64_t position_;  // of row 0 among the keys
  int rows_;
};

}  // namespace warptile::attention_kernels
