// Sparse times dense: C = alpha A B + beta C.
#pragma once

#include "api/sparse_pattern.h"
#include "common/context.h"
#include "common/dtype.h"

namespace warptile {

enum class SpmmVariant : int {
  kRowSplit = 0,  // CSR: any problem, one group of lanes a row; also stands for the only kernel of block-sparse matrices
  kRowGroup = 1,  // CSR: lanes, lane groups and warps share a row as the plan says
  kTiles = 2,     // a copy of A in dense tiles, on tensor cores or, float32, CUDA cores
  kRowBins = 3,   // CSR: blocks, warps or parts of warps take rows by their lengths
  kPanel = 4,     // CSR, float32: a panel of B in shared memory
  kStream = 5,    // CSR: groups of lanes or, for one column, blocks take equal shares of entries
  kStrips = 6,    // CSR, float32: a copy of A in strips of rows, without the columns in which a strip stores nothing
};

// How lib/ops/spmm-plan.ts chose to run it; checked again before a launch.
struct SpmmPlan {
  SpmmVariant variant = SpmmVariant::kRowSplit;
  // Columns of a lane, and consecutive ones of them that it loads at once. Row group, row bins: 1 and 1; 4 and 1; as many as 16 bytes
  // hold, all of them or 2; of one lane 4 and 2. Stream: 1 and 1; as many as 16 bytes hold, all of them; 4 or 8, and 1 or, of at least 16
  // bytes, 2. Strips: 4 and 2 or 4; 8 and 4.
  int vector = 1;
  int piece = 1;
  int lanes = 32;   // row group, row bins, stream, strips: lanes side by side over columns
  int splits = 1;   // row group, row bins: groups of lanes over the entries of a row that shares a warp
  int warps = 1;    // row group: warps over the entries of a row; tiles: that multiply together, 4 with Hopper's instructions;
                    // strips: that share a strip
  int columns = 0;  // tiles: columns of C that a block computes
  int cluster = 1;  // tiles, panel: blocks of a cluster that share the depth of a tile of C
  int64_t block_items = 0;  // row bins, stream: the first items, which take a block each
  int64_t warp_items = 0;   // row bins, stream: the next ones, which take a warp each
  int warp_rows = 0;        // panel: rows of a warp
  // Row group of one problem: so many blocks are launched as one, so that each multiprocessor gets its share although the next kernel's are
  // placed while they run.
  int bundle = 1;
  bool alone = false;  // stream: the next kernel's blocks are not placed beside this one's
};

// A table of items that the lanes of a plan take. Row bins: rows in the order of descending length, those too long for one block cut
// into segments that are summed apart, then added in order. Of lib/formats/row-bins.ts. Stream: long rows and their segments, then
// stretches of whole rows. Of lib/formats/row-stream.ts.
struct SpmmBins {
  int64_t items = 0;      // 0 where there is no such table
  int64_t segments = 0;   // of all items
  int64_t long_rows = 0;  // that are cut
  // [items, 4]: first and past the last entry; row or, of a segment, ~slot; row bins: 0, stream: empty rows before the first one, stream
  // of one column: rows; then [long_rows, 3]: row, first and past its last slot
  const int32_t* data = nullptr;
  const uint8_t* steps = nullptr;  // stream, but of one column: [stored], see kernels/spmm/stream.cuh
};

// A in dense tiles [rows, kSpmmTileDepth], panel by panel of `rows` rows; tiles without entries are left out.
constexpr int kSpmmTileDepth = 64;
struct SpmmTiles {
  int rows = 0;                      // of a tile: 32, 64 or 128; 0 where there is no such copy
  int64_t count = 0;
  const int32_t* panel_ptr = nullptr;  // [ceil(m / rows) + 1]
  const int32_t* columns = nullptr;    // [count]: a tile covers columns kSpmmTileDepth * columns[t] on, ascending in a panel
  // [count, rows, kSpmmTileDepth], zero where nothing is stored. For half types the eighths of a row of 128 bytes are exchanged:
  // eighth i of row r lies at i ^ (r % 8), where shared memory wants it.
  const void* values = nullptr;
  // How panels are shared out: [items_count, 4]: panel, first tile, tiles, place among the parts or -1 where it is a whole panel; then
  // [cuts, 4]: panel, first part, parts, 0. Null where there is no such table.
  const int32_t* items = nullptr;
  int64_t items_count = 0;
  int64_t longest = 0;  // most tiles of an item
  int64_t parts = 0;    // of all panels that were cut
  int64_t cuts = 0;     // panels that were cut
};

// A in strips of `rows` rows: the columns in which a strip stores anything, ascending, and dense values. A multiple of kSpmmStripStep of them:
// the last one is repeated, with values of zero.
constexpr int kSpmmStripStep = 4;
struct SpmmStrips {
  int rows = 0;       // of a strip: 4 or 8; 0 where there is no such copy
  int64_t count = 0;  // columns of all strips
  const int32_t* columns = nullptr;  // [count]
  const float* values = nullptr;     // [count, rows], zero where nothing is stored
  // As SpmmTiles::items, of strips: [items_count, 4]: strip, first column, columns, place among the parts or -1; then [cuts, 4].
  const int32_t* items = nullptr;
  int64_t items_count = 0;
  int64_t parts = 0;
  int64_t cuts = 0;
};

// `batch` independent problems over one pattern; an operand whose stride is 0 is shared by all of them. Strides and leading
// dimensions are in elements.
struct SpmmParams {
  DType dtype = DType::kFloat32;  // of values, b and c; sums are float32
  SparsePattern pattern;          // A, [m, k]
  int64_t n = 0;                  // columns of B and C
  int64_t batch = 1;
  const void* values = nullptr;  // [batch, stored, block_rows, block_columns]
  int64_t values_stride = 0;
  const void* b = nullptr;  // [batch, k, n], rows ldb apart
  int64_t ldb = 0;
  int64_t b_stride = 0;
  bool padded = false;  // rows of B go on to a multiple of 16 bytes: a copy (api/padded.h)
  void* c = nullptr;  // [batch, m, n], rows ldc apart; read only where beta != 0
  int64_t ldc = 0;
  int64_t c_stride = 0;
  float alpha = 1;
  float beta = 0;
  SpmmPlan plan;
  SpmmBins bins;   // CSR; none where rows are about equally long
  SpmmTiles tiles;        // of `values`, which has one set
  SpmmStrips strips;      // likewise
};

// Writes `tiles.columns` and `tiles.values`, whose sizes `panel_ptr` gives and which `items` shares out.
struct SpmmFillTilesParams {
  DType dtype = DType::kFloat32;
  SparsePattern pattern;
  const void* values = nullptr;  // [stored, block_rows, block_columns]
  int tile_rows = 0;
  int64_t count = 0;
  const int32_t* panel_ptr = nullptr;  // [ceil(m / tile_rows) + 1]
  const int32_t* items = nullptr;      // as SpmmTiles::items
  int64_t items_count = 0;
  int32_t* columns = nullptr;          // [count]
  void* tile_values = nullptr;         // [count, tile_rows, kSpmmTileDepth]
};

// Widest matrix that it takes: a bit for each column of tiles must fit shared memory.
constexpr int64_t kSpmmMaxTiledColumns = 2'097'152;

// Writes `strips.columns` and `strips.values`, whose sizes `strip_ptr` gives.
struct SpmmFillStripsParams {
  SparsePattern pattern;           // CSR
  const float* values = nullptr;   // [stored]
  int strip_rows = 0;
  int64_t count = 0;
  const int32_t* strip_ptr = nullptr;  // [ceil(m / strip_rows) + 1]
  int32_t* columns = nullptr;          // [count]
  float* strip_values = nullptr;       // [count, strip_rows]
};

// Farthest that the columns of a strip may lie apart: a bit for each between them, and a count for each word of bits, must fit shared memory.
constexpr int64_t kSpmmMaxStripSpan = 196'608;

Status spmm_fill_strips(const SpmmFillStripsParams& params, const LaunchContext& context);

Status spmm_fill_tiles(const SpmmFillTilesParams& params, const LaunchContext& context);

Status spmm(const SpmmParams& params, const LaunchContext& context);

}  // namespace warptile
