// The tensor-core instruction of a warpgroup (four warps from a multiple of four on): d += A B with float32 accumulators, both factors
// in shared memory (PTX ISA, "wgmma.mma_async"). A [64, 16] has rows of 128 swizzled bytes, 16 of whose 64 elements are taken; B
// [16, n] has its 16 rows one after the other, each of 64 (or, for n = 32, of 32) swizzled elements, and further columns 64 by 64.
//
// `multiply_add_rows` takes B [n, 16] transposed, in rows as A has them: d += A B^T.
//
// Thread t of the warpgroup holds in d[4 j + 2 h + i] row t / 32 * 16 + t % 32 / 4 + 8 h, column 8 j + t % 4 * 2 + i.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "common/hopper.cuh"

namespace warptile {

#ifdef WARPTILE_HOPPER

// Orders accesses of registers and shared memory before the instructions (PTX ISA, "wgmma.fence").
__device__ __forceinline__ void fence_group() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Ends a batch of instructions (PTX ISA, "wgmma.commit_group").
__device__ __forceinline__ void commit_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most kPending batches are under way (PTX ISA, "wgmma.wait_group").
template <int kPending>
__device__ __forceinline__ void wait_group() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Where a factor lies (PTX ISA, "Matrix descriptor"). `near` is the distance of blocks of eight rows, `far` that of blocks of 64
// columns, in bytes; swizzled by 128 bytes, or by 64.
template <bool kSwizzle128>
__device__ __forceinline__ uint64_t group_operand(uint32_t address, uint32_t near, uint32_t far) {
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>(bytes >> 4 & 0x3fff); };
  return field(address) | field(far) << 16 | field(near) << 32 | static_cast<uint64_t>(kSwizzle128 ? 1 : 2) << 62;
}

// Operands: sums from d[i] on.
#define WARPTILE_SUMS_8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define WARPTILE_SUMS_16(i) WARPTILE_SUMS_8(i), WARPTILE_SUMS_8(i + 8)
#define WARPTILE_SUMS_32(i) WARPTILE_SUMS_16(i), WARPTILE_SUMS_16(i + 16)
#define WARPTILE_SUMS_64(i) WARPTILE_SUMS_32(i), WARPTILE_SUMS_32(i + 32)
#define WARPTILE_SUMS_128(i) WARPTILE_SUMS_64(i), WARPTILE_SUMS_64(i + 64)

// Their names in the instruction.
#define WARPTILE_NAMES_16 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define WARPTILE_NAMES_32 \
  WARPTILE_NAMES_16 ", " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define WARPTILE_NAMES_64                                                            \
  WARPTILE_NAMES_32 ", "                                                             \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WARPTILE_NAMES_128                                                                       \
  WARPTILE_NAMES_64 ", "                                                                         \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "             \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "             \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// d += A B, or with by_column "0" A B^T, for a half type, its name in the instruction, and columns of the product, twice as many as sums a
// thread; `a` and `b` follow those.
#define WARPTILE_MULTIPLY_ADD(name, T, kind, columns, by_column, sums, a_name, b_name)                  \
  __device__ __forceinline__ void name(float (&d)[sums], uint64_t a, uint64_t b, T) {                   \
    asm volatile(                                                                                       \
        "{\n"                                                                                           \
        ".reg .pred add;\n"                                                                             \
        "setp.ne.b32 add, 1, 0;\n"                                                                      \
        "wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." kind "." kind " {" WARPTILE_NAMES_##sums \
        "}, " a_name ", " b_name ", add, 1, 1, 0, " by_column ";\n"                                     \
        "}\n"                                                                                           \
        : WARPTILE_SUMS_##sums(0)                                                                       \
        : "l"(a), "l"(b));                                                                              \
  }
#define WARPTILE_MULTIPLY_ADD_ALL(T, kind)                                              \
  WARPTILE_MULTIPLY_ADD(multiply_add_group, T, kind, "32", "1", 16, "%16", "%17")       \
  WARPTILE_MULTIPLY_ADD(multiply_add_group, T, kind, "64", "1", 32, "%32", "%33")       \
  WARPTILE_MULTIPLY_ADD(multiply_add_group, T, kind, "128", "1", 64, "%64", "%65")      \
  WARPTILE_MULTIPLY_ADD(multiply_add_group, T, kind, "256", "1", 128, "%128", "%129")   \
  WARPTILE_MULTIPLY_ADD(multiply_add_rows, T, kind, "128", "0", 64, "%64", "%65")

WARPTILE_MULTIPLY_ADD_ALL(__half, "f16")
WARPTILE_MULTIPLY_ADD_ALL(__nv_bfloat16, "bf16")
#undef WARPTILE_MULTIPLY_ADD_ALL
#undef WARPTILE_MULTIPLY_ADD
#undef WARPTILE_NAMES_128
#undef WARPTILE_NAMES_64
#undef WARPTILE_NAMES_32
#undef WARPTILE_NAMES_16
#undef WARPTILE_SUMS_128
#undef WARPTILE_SUMS_64
#undef WARPTILE_SUMS_32
#undef WARPTILE_SUMS_16
#undef WARPTILE_SUMS_8

#endif

}  // namespace warptile
