// Instructions of sm_90a for work between threads, the copy engine and the blocks of a cluster. Callers are compiled for other
// architectures too, and guard their code by WARPTILE_HOPPER.
#pragma once

#include <cuda.h>

#include <cstdint>

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WARPTILE_HOPPER 1
#endif

namespace warptile {

#ifdef WARPTILE_HOPPER

// A barrier in shared memory whose phases complete after `count` arrivals and all announced bytes (PTX ISA, "mbarrier.init").
__device__ __forceinline__ void init_barrier(uint32_t barrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

// Makes initialised barriers known to the copy engine and the cluster (PTX ISA, "fence").
__device__ __forceinline__ void fence_barrier_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives, and announces bytes that copies will bring (PTX ISA, "mbarrier.arrive", expect_tx).
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

__device__ __forceinline__ void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Waits for the end of the phase of parity `parity` (PTX ISA, "mbarrier.try_wait").
__device__ __forceinline__ void wait_barrier(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Copies `bytes` (a multiple of 16) to shared memory; their arrival counts for `barrier` (PTX ISA, "cp.async.bulk").
__device__ __forceinline__ void copy_bulk(uint32_t target, const void* source, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target),
               "l"(source), "r"(bytes), "r"(barrier)
               : "memory");
}

// Copies a box of a tensor, swizzled as its map says, to shared memory; what lies outside of the tensor becomes zero, and all of
// the box's bytes count for `barrier` (PTX ISA, "cp.async.bulk.tensor").
__device__ __forceinline__ void copy_box(uint32_t target, const CUtensorMap* map, int x, int y, int z, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(
          target),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
      : "memory");
}

// Brings a map, which is a kernel parameter, near the copy engine (PTX ISA, "prefetch").
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The two halves of a barrier of all threads of a cluster: what was written before the first is seen after the second (PTX ISA,
// "barrier.cluster").
__device__ __forceinline__ void arrive_cluster() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ __forceinline__ void wait_cluster() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// The address of a shared variable of this block in the block of rank `rank` (PTX ISA, "mapa").
__device__ __forceinline__ uint32_t address_in_block(uint32_t address, int rank) {
  uint32_t mapped;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}

// Copies `bytes` (a multiple of 16) of this block's shared memory to that of any block of the cluster, where their arrival counts for
// `barrier`, which is there too (PTX ISA, "cp.async.bulk").
__device__ __forceinline__ void copy_in_cluster(uint32_t target, uint32_t source, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(target),
               "r"(source), "r"(bytes), "r"(barrier)
               : "memory");
}

// Lets the copy engine see what this thread wrote to shared memory (PTX ISA, "fence.proxy.async").
__device__ __forceinline__ void fence_shared_writes() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Lets the copy engine see what this thread wrote to global memory (PTX ISA, "fence.proxy.async").
__device__ __forceinline__ void fence_global_writes() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

// A barrier of the first `threads` threads of a block, whole warps (PTX ISA, "bar.sync").
template <int kThreads>
__device__ __forceinline__ void synchronize_first() {
  asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
}

#endif

}  // namespace warptile
