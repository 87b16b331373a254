// One open device: its stream, memory, graphs and waiter. Belongs to one JavaScript thread.
#pragma once

#include <cuda_runtime_api.h>
#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "addon/buffer_table.h"
#include "addon/memory_pool.h"
#include "addon/staging.h"
#include "addon/waiter.h"
#include "common/context.h"
#include "peers/plan.h"

namespace warptile::addon {

class DeviceContext final : public BufferTable {
 public:
  DeviceContext(Napi::Env env, int ordinal, int64_t memory_limit);
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  // Makes the device current on this thread; throws ERR_DEVICE_LOST once it is lost.
  void activate();
  // Throws for an error; remembers a lost device.
  void check(const Status& status);
  void check(cudaError_t error, const char* what) { check(Status::from_cuda(error, what)); }

  // Buffers are named by numbers: 0 is none, and a freed buffer's number does not come back soon.
  double allocate(int64_t bytes);
  void free(double id);
  void upload(double id, int64_t offset, const void* source, int64_t bytes);
  void download(double id, int64_t offset, Napi::ArrayBuffer target, Napi::Function callback);
  void download_sync(double id, int64_t offset, void* target, int64_t bytes);
  void copy(double target, int64_t target_offset, double source, int64_t source_offset, int64_t bytes);
  void fill(double id, int64_t offset, int64_t bytes, int value);
  // The address of `bytes` bytes at `offset`; throws ERR_ARGUMENT where the buffer does not hold them. While a graph is
  // recorded, the graph keeps the buffer alive.
  void* resolve(double id, int64_t offset, int64_t bytes, const char* name) override;

  void begin_capture();
  double end_capture();
  // Leaves a recording that failed.
  void abort_capture();
  void replay(double graph);
  void destroy_graph(double graph);

  // A vendor's routine made ready: `workspace` and the plan go with the device at the latest.
  struct Peer;
  double add_peer(std::unique_ptr<Peer> peer);
  Peer& peer(double name);
  void remove_peer(double name);
  // Keeps a buffer's memory from being reused as long as the result lives.
  std::shared_ptr<MemoryPool::Block> hold(double id, const char* name) { return slot(id, name).block; }
  void not_capturing(const char* what);

  void synchronize(Napi::Function callback);
  void synchronize_sync();
  // An event after the work enqueued so far.
  double mark();
  // callback(code, message, milliseconds between two marks); forgets both.
  void elapsed(double start, double end, Napi::Function callback);

  // For one operation call: scratch memory is freed when the context goes out of scope, in stream order.
  class Call;
  LaunchContext launch_context(Workspace* workspace) { return {stream_, &limits_, workspace}; }
  std::shared_ptr<MemoryPool::Block> allocate_block(int64_t bytes);

  const cudaDeviceProp& properties() const { return properties_; }
  const DeviceLimits& limits() const { return limits_; }
  cudaStream_t stream() const { return stream_; }
  int ordinal() const { return ordinal_; }
  int64_t used() const { return used_; }
  int64_t peak() const { return peak_; }
  int64_t reserved() const { return static_cast<int64_t>(pool_->reserved()); }
  int64_t handles() const { return handles_; }
  // Ends all work and frees everything. With `finish_pending`, promises of pending work are settled; without, as at the end
  // of the environment, they are dropped.
  void close(bool finish_pending);

 private:
  struct Slot {
    std::shared_ptr<MemoryPool::Block> block;
    int64_t bytes = 0;
    uint32_t generation = 0;
  };
  struct Graph {
    cudaGraphExec_t executable = nullptr;
    std::shared_ptr<GraphPool> pool;
    std::vector<std::shared_ptr<MemoryPool::Block>> kept;
  };

  Slot& slot(double id, const char* name);
  void tell_collector();
  std::unique_ptr<Waiter::Job> job_after_now(Napi::Function callback);

  Napi::Env env_;
  int ordinal_;
  int64_t memory_limit_;
  bool lost_ = false;
  bool closed_ = false;
  cudaStream_t stream_ = nullptr;
  cudaDeviceProp properties_{};
  DeviceLimits limits_;
  std::shared_ptr<DevicePool> pool_;
  StagingPool staging_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_slots_;
  int64_t used_ = 0;
  int64_t peak_ = 0;
  int64_t handles_ = 0;
  int64_t told_ = 0;  // bytes, to V8
  std::unique_ptr<Graph> capturing_;
  std::unordered_map<int64_t, std::unique_ptr<Graph>> graphs_;
  std::unordered_map<int64_t, cudaEvent_t> marks_;
  std::unordered_map<int64_t, std::unique_ptr<Peer>> peers_;
  int64_t next_name_ = 1;
  std::unique_ptr<Waiter> waiter_;
};

class DeviceContext::Call final : public Workspace {
 public:
  explicit Call(DeviceContext& device) : device_(device) {}
  Status allocate(size_t bytes, void** pointer) override;

 private:
  DeviceContext& device_;
  std::vector<std::shared_ptr<MemoryPool::Block>> blocks_;
};

struct DeviceContext::Peer {
  explicit Peer(DeviceContext& device) : workspace(device) {}
  // Members go in reverse order: the plan before the memory that it works in.
  std::vector<std::shared_ptr<MemoryPool::Block>> kept;
  Call workspace;
  std::unique_ptr<peers::Plan> plan;
};

}  // namespace warptile::addon
