// What the kernels share that gather rows of B by the entries of rows of A: chunks of entries, sums, stores.
#pragma once

#include <cstdint>

#include "common/checked.h"
#include "common/numeric.cuh"
#include "kernels/spmm/config.h"
#include "kernels/spmm/store.cuh"

namespace warptile::spmm_kernels {

template <typename T>
struct EntryArrays {
  const int32_t* col;  // [stored], at a multiple of 16 bytes
  const T* values;     // [batch, stored]
  uint32_t stored;
  int32_t value_vectors;  // values may be loaded kChunk at once
};

// Four consecutive entries of the arrays; those outside of the row are loaded with the others and left out of the sums.
struct ChunkColumns {
  int items[kChunk];
};

__device__ __forceinline__ ChunkColumns load_whole_columns(const int32_t* col) {
  const auto loaded = load_pack<int, kChunk>(col);
  ChunkColumns columns;
#pragma unroll
  for (int u = 0; u < kChunk; ++u) columns.items[u] = loaded.items[u];
  return columns;
}

template <typename T>
__device__ __forceinline__ ChunkColumns load_columns(const EntryArrays<T>& a, uint32_t at) {
  if (at + kChunk <= a.stored) return load_whole_columns(a.col + at);
  ChunkColumns columns;
#pragma unroll
  for (int u = 0; u < kChunk; ++u) columns.items[u] = at + u < a.stored ? a.col[at + u] : 0;
  return columns;
}

// The values of a chunk, as words: apart, those of half types would be taken out of their words, and so waited for, where they are loaded.
template <typename T>
struct ChunkValues {
  static constexpr int kWords = kChunk * static_cast<int>(sizeof(T)) / 4;
  uint32_t words[kWords];

  __device__ __forceinline__ void to_floats(float (&values)[kChunk]) const {
#pragma unroll
    for (int u = 0; u < kChunk; ++u) {
      if constexpr (sizeof(T) == 4) {
        values[u] = __uint_as_float(words[u]);
      } else {
        const float2 pair = to_float_pair(words[u / 2], T{});
        values[u] = u % 2 == 0 ? pair.x : pair.y;
      }
    }
  }
};

template <typename T>
__device__ __forceinline__ ChunkValues<T> load_whole_values(const T* values) {
  using Words = ChunkValues<T>;
  const auto loaded = load_pack<uint32_t, Words::kWords>(reinterpret_cast<const uint32_t*>(values));
  Words result;
#pragma unroll
  for (int i = 0; i < Words::kWords; ++i) result.words[i] = loaded.items[i];
  return result;
}

template <typename T>
__device__ __forceinline__ ChunkValues<T> load_values(const EntryArrays<T>& a, const T* values, uint32_t at) {
  if (at + kChunk <= a.stored && a.value_vectors) return load_whole_values(values + at);
  // The arrays end inside of this chunk, or the values are misaligned.
  ChunkValues<T> result{};
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    if (at + u >= a.stored) continue;
    if constexpr (sizeof(T) == 4) {
      result.words[u] = __float_as_uint(values[at + u]);
    } else {
      const uint32_t bits = reinterpret_cast<const uint16_t*>(values)[at + u];
      result.words[u / 2] |= bits << (u % 2 * 16);
    }
  }
  return result;
}

// The columns of B and C that a lane computes: pieces of kPiece consecutive ones, the lanes of a group side by side in each piece.
//
//     kVector = kPiece = 4:  lane 0 0 0 0 1 1 1 1 2 2 2 2 ...         kVector = 4, kPiece = 1, kLanes = 8:  0 1 2 .. 7 | 0 1 2 .. 7 | ...
//
template <int kVector_, int kPiece_, int kLanes_>
struct LaneColumns {
  static constexpr int kVector = kVector_, kPiece = kPiece_, kLanes = kLanes_;
  static constexpr int kPieces = kVector / kPiece;
  static constexpr bool kWholeVectors = kPieces == 1 && kPiece > 1;
  static constexpr int kApart = kLanes * kPiece;  // of the pieces of a lane
  static constexpr int kTile = kLanes * kVector;

  static __device__ __forceinline__ int first(int lane) { return lane % kLanes * kPiece; }

  // How many pieces lie inside: n is a multiple of kPiece, and a piece that begins inside lies inside; or rows of B go on past n.
  static __device__ __forceinline__ int pieces(int64_t column, int64_t n) {
    if constexpr (kPieces == 1) return column < n;
    return column < n ? static_cast<int>(min(static_cast<int64_t>(kPieces), (n - 1 - column) / kApart + 1)) : 0;
  }

  // Calls `body(piece)` for each piece inside, of which there is at least one.
  template <typename Body>
  static __device__ __forceinline__ void each(int pieces, Body&& body) {
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      if (piece == 0 || piece < pieces) body(piece);
    }
  }

  // In place of pieces outside the last one inside once more, whose sums are never stored: loads under predicates take up to twice as long.
  template <typename T>
  static __device__ __forceinline__ Pack<T, kVector> load(const T* source, int pieces) {
    Pack<T, kVector> row;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
      const int place = piece == 0 ? 0 : min(piece, pieces - 1) * kApart;
      reinterpret_cast<Pack<T, kPiece>*>(row.items)[piece] = load_pack<T, kPiece>(source + place);
    }
    return row;
  }
};

// What a lane has of an entry's row of B, times the entry.
template <typename T, int kVector>
__device__ __forceinline__ void add_entry(float value, const Pack<T, kVector>& row, float (&sum)[kVector]) {
  if constexpr (sizeof(T) == 2 && kVector % 2 == 0) {
    const auto words = reinterpret_cast<const Pack<uint32_t, kVector / 2>&>(row);
#pragma unroll
    for (int v = 0; v < kVector; v += 2) {
      const float2 pair = to_float_pair(words.items[v / 2], T{});
      sum[v] = fmaf(value, pair.x, sum[v]);
      sum[v + 1] = fmaf(value, pair.y, sum[v + 1]);
    }
  } else {
#pragma unroll
    for (int v = 0; v < kVector; ++v) sum[v] = fmaf(value, to_float(row.items[v]), sum[v]);
  }
}

// In bytes, so that the place of a row of B is one multiplication.
template <typename T>
__device__ __forceinline__ const T* row_of(const T* b, int column, uint32_t row_bytes) {
  const uint64_t offset = static_cast<uint64_t>(static_cast<uint32_t>(column)) * row_bytes;
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(b) + offset);
}

// Adds the four entries of a chunk. `b` points at this lane's columns of row 0 of B.
template <typename Columns, typename T>
__device__ __forceinline__ void add_chunk(const ChunkColumns& columns, const ChunkValues<T>& values, const T* b, uint32_t row_bytes,
                                          int pieces, float (&sum)[Columns::kVector]) {
  Pack<T, Columns::kVector> rows[kChunk];
#pragma unroll
  for (int u = 0; u < kChunk; ++u) rows[u] = Columns::load(row_of(b, columns.items[u], row_bytes), pieces);
  float factors[kChunk];
  values.to_floats(factors);
#pragma unroll
  for (int u = 0; u < kChunk; ++u) add_entry(factors[u], rows[u], sum);
}

// Adds those entries of the chunk at `at` that lie in [first, last), of which there is at least one.
template <typename Columns, typename T>
__device__ __forceinline__ void add_part_of_chunk(ChunkColumns columns, const ChunkValues<T>& values, uint32_t at, uint32_t first,
                                                  uint32_t last, const T* b, uint32_t row_bytes, int pieces,
                                                  float (&sum)[Columns::kVector]) {
  // Wraps around below 0, past every length.
  const uint32_t place = at - first;
  const uint32_t length = last - first;
  // In place of an entry outside of the row one inside: its row of B is loaded once more, from the first cache, and left out, since what is
  // not stored may be NaN. Loads under predicates would be a second path.
  int inner = columns.items[0];
#pragma unroll
  for (int u = 1; u < kChunk; ++u) {
    if (place + u == 0) inner = columns.items[u];
  }
  Pack<T, Columns::kVector> rows[kChunk];
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    const int column = place + u < length ? columns.items[u] : inner;
    rows[u] = Columns::load(row_of(b, column, row_bytes), pieces);
  }
  float factors[kChunk];
  values.to_floats(factors);
#pragma unroll
  for (int u = 0; u < kChunk; ++u) {
    float added[Columns::kVector];
#pragma unroll
    for (int v = 0; v < Columns::kVector; ++v) added[v] = sum[v];
    add_entry(factors[u], rows[u], added);
#pragma unroll
    for (int v = 0; v < Columns::kVector; ++v) sum[v] = place + u < length ? added[v] : sum[v];
  }
}

// Adds the entries in [first, last) of the chunks at `at`, at + step, ...; `columns` and `factors` are those of the first chunk, which
// begins before `last`. All chunks but the first and the last are whole. Unsigned, so that a step past the last entry of 2^31 - 1 does not
// wrap around.
template <typename Columns, typename T>
__device__ __forceinline__ void add_entries(const EntryArrays<T>& a, const T* values, const T* b, uint32_t row_bytes,
                                            ChunkColumns columns, ChunkValues<T> factors, uint32_t at, uint32_t step,
                                            uint32_t first, uint32_t last, int pieces, float (&sum)[Columns::kVector]) {
  // The next chunk is loaded before the rows of B are waited for: at once where all of it is stored and values are aligned.
  const uint32_t past_vectors = a.value_vectors ? min(last, a.stored / kChunk * kChunk) : 0;
  ChunkColumns next_columns;
  ChunkValues<T> next_factors;
  const auto load_next = [&](uint32_t next) {
    if (next < past_vectors) {
      next_columns = load_whole_columns(a.col + next);
      next_factors = load_whole_values(values + next);
    } else {
      next_columns = load_columns(a, next);
      next_factors = load_values(a, values, next);
    }
  };
  uint32_t next = at + step;
  const auto advance = [&] {
    columns = next_columns;
    factors = next_factors;
    at = next;
    next += step;
  };
  if (next < last) {
    load_next(next);
    add_part_of_chunk<Columns>(columns, factors, at, first, last, b, row_bytes, pieces, sum);
    advance();
    while (next < last) {
      load_next(next);
      add_chunk<Columns>(columns, factors, b, row_bytes, pieces, sum);
      advance();
    }
  }
  add_part_of_chunk<Columns>(columns, factors, at, first, last, b, row_bytes, pieces, sum);
}

// Writes the sums of the columns that a lane computes, of which `pieces` pieces lie inside. Where rows of C do not begin and end at whole vectors
// (then a copy of B has columns to fill them up) the `left` ones from c on.
template <typename Columns, typename T>
__device__ __forceinline__ void store_columns(T* c, const float (&sum)[Columns::kVector], int pieces, bool whole, int64_t left,
                                              float alpha, float beta) {
  constexpr int kPiece = Columns::kPiece;
  if constexpr (Columns::kWholeVectors) {
    store_results<T, kPiece>(c, sum, whole, left, alpha, beta);
  } else {
    Columns::each(pieces, [&](int piece) { store_whole<T, kPiece>(c + piece * Columns::kApart, sum + piece * kPiece, alpha, beta); });
  }
}

// Calls `body` with the LaneColumns that the plan says. Requires has_columns(params.dtype, plan).
template <typename T, typename Body>
Status dispatch_columns(const SpmmPlan& plan, Body&& body) {
  constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));
  const int lanes = plan.lanes;
  if (plan.vector == 1) {
    if (lanes == 1) return body(LaneColumns<1, 1, 1>{});
    if (lanes == 4) return body(LaneColumns<1, 1, 4>{});
    return lanes == 8 ? body(LaneColumns<1, 1, 8>{}) : body(LaneColumns<1, 1, 32>{});
  }
  if (plan.piece == kVector) {
    if (lanes == 1) return body(LaneColumns<kVector, kVector, 1>{});
    if (lanes == 2) return body(LaneColumns<kVector, kVector, 2>{});
    if (lanes == 4) return body(LaneColumns<kVector, kVector, 4>{});
    if (lanes == 8) return body(LaneColumns<kVector, kVector, 8>{});
    if (lanes == 16) return body(LaneColumns<kVector, kVector, 16>{});
    return body(LaneColumns<kVector, kVector, 32>{});
  }
  if (plan.piece == 2) {
    if (lanes == 1) return body(LaneColumns<4, 2, 1>{});
    if (lanes == 4) return body(LaneColumns<kVector, 2, 4>{});
    if constexpr (kVector == 4) {
      if (lanes == 8) return body(LaneColumns<kVector, 2, 8>{});
      if (lanes == 32) return body(LaneColumns<kVector, 2, 32>{});
    }
    return body(LaneColumns<kVector, 2, 16>{});
  }
  if (lanes == 1) return body(LaneColumns<4, 1, 1>{});
  if (lanes == 4) return body(LaneColumns<4, 1, 4>{});
  return lanes == 8 ? body(LaneColumns<4, 1, 8>{}) : body(LaneColumns<4, 1, 32>{});
}

// Whether every set of values begins where kChunk of them may be loaded at once.
inline bool takes_value_vectors(const SpmmParams& params) {
  const int64_t bytes = static_cast<int64_t>(dtype_bytes(params.dtype));
  const int64_t address = static_cast<int64_t>(reinterpret_cast<uintptr_t>(params.values));
  return address % (kChunk * bytes) == 0 && params.values_stride % kChunk == 0;
}

// GroupParams, BinParams or StreamParams with the fields that all have; the others are zero.
template <template <typename> class Params, typename T>
Params<T> entry_params(const SpmmParams& params) {
  Params<T> p{};
  p.a = {params.pattern.col, static_cast<const T*>(params.values), static_cast<uint32_t>(params.pattern.stored),
         takes_value_vectors(params)};
  p.b = static_cast<const T*>(params.b);
  p.row_bytes = static_cast<uint32_t>(params.ldb * sizeof(T));
  p.n = static_cast<decltype(p.n)>(params.n);
  p.alpha = params.alpha;
  p.beta = params.beta;
  p.whole = writes_vectors(params);
  p.c = static_cast<T*>(params.c);
  p.ldc = params.ldc;
  p.values_stride = params.values_stride;
  p.b_stride = params.b_stride;
  p.c_stride = params.c_stride;
  return p;
}

// BinParams or StreamParams, of blocks of `block_warps` warps, with the fields that both have.
template <template <typename> class Params, typename T>
Params<T> item_params(const SpmmParams& params, int block_warps, float* partial) {
  auto p = entry_params<Params, T>(params);
  p.items = reinterpret_cast<const int4*>(params.bins.data);
  p.block_items = static_cast<uint32_t>(params.plan.block_items);
  p.warp_items = static_cast<uint32_t>(params.plan.warp_items);
  p.warp_blocks = static_cast<uint32_t>(ceil_div(params.plan.warp_items, block_warps));
  p.count = static_cast<uint32_t>(params.bins.items);
  p.partial = partial;
  p.pitch = static_cast<uint32_t>(readable_columns(params));
  p.segments = params.bins.segments;
  return p;
}

}  // namespace warptile::spmm_kernels
