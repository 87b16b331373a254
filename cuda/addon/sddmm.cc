#include "addon/operations.h"
#include "addon/sparse_commands.h"
#include "addon/sparse_pattern.h"
#include "api/padded.h"

namespace warptile::addon {
namespace {

SddmmPlan read_plan(CommandReader& in) {
  SddmmPlan plan;
  const int variant = in.small_size("variant");
  if (variant > static_cast<int>(SddmmVariant::kWarpgroups)) CommandReader::fail("variant", "is not a variant");
  plan.variant = static_cast<SddmmVariant>(variant);
  plan.vector = in.small_size("vector");
  plan.lanes = in.small_size("lanes");
  plan.splits = in.small_size("splits");
  plan.tile = in.small_size("tile");
  plan.bundle = in.small_size("bundle");
  plan.alone = in.flag("alone");
  return plan;
}

SddmmTiles read_tiles(CommandReader& in, const SparsePattern& pattern) {
  SddmmTiles tiles;
  tiles.rows = in.small_size("rows of a tile");
  tiles.count = in.small_size("tiles");
  tiles.every_column = in.small_size("tiles of a panel");
  const int64_t units = in.size("units");
  if (tiles.every_column > 0 && tiles.count % tiles.every_column != 0) CommandReader::fail("tiles", "are not whole panels");
  tiles.table = in.optional_int32_input("table of tiles", {tiles.count + 1, 4});
  tiles.shifts = in.optional_int32_input("shifts", {tiles.count, tiles.rows});
  tiles.entries = static_cast<const uint16_t*>(in.optional_input("entries", sizeof(uint16_t), {pattern.stored}));
  tiles.units = in.optional_int32_input("units", {units, 2});
  if (tiles.rows > 0 && !(tiles.table && tiles.shifts && tiles.entries && tiles.units)) {
    CommandReader::fail("tiles", "are incomplete");
  }
  return tiles;
}

}  // namespace

// The order of lib/backends/cuda/sddmm.ts.
SddmmCommand read_sddmm(CommandReader& in) {
  SddmmCommand command;
  SddmmParams& p = command.params;
  p.dtype = in.float_dtype("dtype");
  p.pattern = read_pattern(in);
  p.depth = in.size("depth");
  p.batch = in.size("batch");
  p.lda = in.size("lda");
  p.a_stride = in.size("a stride");
  p.ldb = in.size("ldb");
  p.b_stride = in.size("b stride");
  p.factors_stride = in.size("factors stride");
  p.out_stride = in.size("out stride");
  p.alpha = static_cast<float>(in.number("alpha"));
  const size_t bytes = dtype_bytes(p.dtype);
  const SparsePattern& s = p.pattern;
  const int64_t set = s.stored * s.block_rows * s.block_columns;
  p.a = in.input("a", bytes, {strided_extent("a", p.batch, p.a_stride, s.rows, p.lda, p.depth)});
  p.b = in.input("b", bytes, {strided_extent("b", p.batch, p.b_stride, s.columns, p.ldb, p.depth)});
  p.factors =
      in.optional_input("factors", bytes, {strided_extent("factors", p.batch, p.factors_stride, 1, 0, set)});
  p.out = in.output("out", bytes, {strided_extent("out", p.batch, p.out_stride, 1, 0, set)});
  p.plan = read_plan(in);
  command.padded = in.flag("padded");
  p.tiles = read_tiles(in, s);
  in.finish();
  return command;
}

Status sddmm(CommandReader& in, const LaunchContext& context) {
  const SddmmCommand command = read_sddmm(in);
  return command.padded ? sddmm_padded(command.params, context) : warptile::sddmm(command.params, context);
}

}  // namespace warptile::addon
