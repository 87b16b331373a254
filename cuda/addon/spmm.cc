#include "addon/operations.h"
#include "addon/sparse_commands.h"
#include "addon/sparse_pattern.h"
#include "api/padded.h"

namespace warptile::addon {
namespace {

SpmmPlan read_plan(CommandReader& in) {
  SpmmPlan plan;
  const int variant = in.small_size("variant");
  if (variant > static_cast<int>(SpmmVariant::kStrips)) CommandReader::fail("variant", "is not a variant");
  plan.variant = static_cast<SpmmVariant>(variant);
  plan.vector = in.small_size("vector");
  plan.piece = in.small_size("piece");
  plan.lanes = in.small_size("lanes");
  plan.splits = in.small_size("splits");
  plan.warps = in.small_size("warps");
  plan.columns = in.small_size("tile columns");
  plan.cluster = in.small_size("cluster");
  plan.block_items = in.small_size("block items");
  plan.warp_items = in.small_size("warp items");
  plan.warp_rows = in.small_size("rows of a warp");
  plan.bundle = in.small_size("bundle");
  plan.alone = in.flag("alone");
  return plan;
}

SpmmBins read_bins(CommandReader& in, int64_t stored) {
  SpmmBins bins;
  bins.items = in.small_size("items");
  bins.segments = in.small_size("segments");
  bins.long_rows = in.small_size("long rows");
  bins.data = in.optional_int32_input("row bins", {4 * bins.items + 3 * bins.long_rows});
  if (bins.items > 0 && bins.data == nullptr) CommandReader::fail("row bins", "are missing");
  // Four to an element of the table.
  bins.steps = reinterpret_cast<const uint8_t*>(in.optional_int32_input("steps", {ceil_div(stored, 4)}));
  return bins;
}

SpmmTiles read_tiles(CommandReader& in, int64_t rows, size_t bytes) {
  SpmmTiles tiles;
  tiles.rows = in.small_size("tile rows");
  tiles.count = in.small_size("tiles");
  if (tiles.rows > 128) CommandReader::fail("tile rows", "are more than 128");
  const int64_t panels = tiles.rows == 0 ? 0 : ceil_div(rows, tiles.rows) + 1;
  tiles.panel_ptr = in.optional_int32_input("panel pointers", {panels});
  tiles.columns = in.optional_int32_input("tile columns", {tiles.count});
  tiles.values = in.optional_input("tile values", bytes, {tiles.count, tiles.rows, kSpmmTileDepth});
  if (tiles.rows > 0 && (tiles.panel_ptr == nullptr || tiles.columns == nullptr || tiles.values == nullptr)) {
    CommandReader::fail("tiles", "are missing");
  }
  tiles.items_count = in.small_size("items");
  tiles.longest = in.small_size("longest item");
  tiles.parts = in.small_size("parts");
  tiles.cuts = in.small_size("cut panels");
  tiles.items = in.optional_int32_input("items", {4 * (tiles.items_count + tiles.cuts)});
  if (tiles.items_count > 0 && tiles.items == nullptr) CommandReader::fail("items", "are missing");
  return tiles;
}

SpmmStrips read_strips(CommandReader& in) {
  SpmmStrips strips;
  strips.rows = in.small_size("strip rows");
  strips.count = in.small_size("strip columns");
  strips.columns = in.optional_int32_input("columns of strips", {strips.count});
  strips.values = static_cast<const float*>(in.optional_input("strip values", sizeof(float), {strips.count, strips.rows}));
  strips.items_count = in.small_size("strip items");
  strips.parts = in.small_size("parts of strips");
  strips.cuts = in.small_size("cut strips");
  strips.items = in.optional_int32_input("items of strips", {4 * (strips.items_count + strips.cuts)});
  if (strips.rows > 0 && (strips.columns == nullptr || strips.values == nullptr || strips.items == nullptr)) {
    CommandReader::fail("strips", "are missing");
  }
  return strips;
}

}  // namespace

// The order of lib/backends/cuda/spmm.ts.
SpmmCommand read_spmm(CommandReader& in) {
  SpmmCommand command;
  SpmmParams& p = command.params;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.n = in.size("width");
  p.batch = in.size("batch");
  p.values_stride = in.size("values stride");
  p.ldb = in.size("ldb");
  p.b_stride = in.size("b stride");
  p.ldc = in.size("ldc");
  p.c_stride = in.size("c stride");
  p.alpha = static_cast<float>(in.number("alpha"));
  p.beta = static_cast<float>(in.number("beta"));
  // Rows of C that overlapped would be written by several threads.
  if (p.ldc < p.n) CommandReader::fail("ldc", "is less than the width");
  const size_t bytes = dtype_bytes(p.dtype);
  const SparsePattern& a = p.pattern;
  const int64_t set = a.stored * a.block_rows * a.block_columns;
  p.values = in.input("values", bytes, {strided_extent("values", p.batch, p.values_stride, 1, 0, set)});
  p.b = in.input("b", bytes, {strided_extent("b", p.batch, p.b_stride, a.columns, p.ldb, p.n)});
  p.c = in.output("c", bytes, {strided_extent("c", p.batch, p.c_stride, a.rows, p.ldc, p.n)});
  p.plan = read_plan(in);
  command.padded = in.flag("padded");
  p.bins = read_bins(in, a.stored);
  p.tiles = read_tiles(in, a.rows, bytes);
  p.strips = read_strips(in);
  in.finish();
  return command;
}

Status spmm(CommandReader& in, const LaunchContext& context) {
  const SpmmCommand command = read_spmm(in);
  return command.padded ? spmm_padded(command.params, context) : warptile::spmm(command.params, context);
}

// The order of lib/backends/cuda/spmm.ts.
Status spmm_fill_strips(CommandReader& in, const LaunchContext& context) {
  SpmmFillStripsParams p;
  p.pattern = read_pattern(in);
  p.strip_rows = in.small_size("strip rows");
  if (p.strip_rows < 1) CommandReader::fail("strip rows", "are less than 1");
  p.count = in.small_size("strip columns");
  const SparsePattern& a = p.pattern;
  p.values = static_cast<const float*>(in.input("values", sizeof(float), {a.stored, a.block_rows, a.block_columns}));
  p.strip_ptr = in.int32_input("strip pointers", {ceil_div(a.rows, p.strip_rows) + 1});
  p.columns = static_cast<int32_t*>(in.output("columns of strips", sizeof(int32_t), {p.count}));
  p.strip_values = static_cast<float*>(in.output("strip values", sizeof(float), {p.count, p.strip_rows}));
  in.finish();
  return warptile::spmm_fill_strips(p, context);
}

// The order of lib/backends/cuda/spmm.ts.
Status spmm_fill_tiles(CommandReader& in, const LaunchContext& context) {
  SpmmFillTilesParams p;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.tile_rows = in.small_size("tile rows");
  if (p.tile_rows < 1) CommandReader::fail("tile rows", "are less than 1");
  p.count = in.small_size("tiles");
  const size_t bytes = dtype_bytes(p.dtype);
  p.values = in.input("values", bytes, {p.pattern.stored, p.pattern.block_rows, p.pattern.block_columns});
  p.panel_ptr = in.int32_input("panel pointers", {ceil_div(p.pattern.rows, p.tile_rows) + 1});
  p.items_count = in.small_size("items");
  p.items = in.int32_input("items", {4, p.items_count});
  p.columns = static_cast<int32_t*>(in.output("tile columns", sizeof(int32_t), {p.count}));
  p.tile_values = in.output("tile values", bytes, {p.count, p.tile_rows, kSpmmTileDepth});
  in.finish();
  return warptile::spmm_fill_tiles(p, context);
}

}  // namespace warptile::addon
