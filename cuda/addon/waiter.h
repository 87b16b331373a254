// One thread a device that waits for CUDA events and completes JavaScript callbacks in the order they were queued.
//
// A libuv worker would be held for as long as a kernel runs and starve file and name look-ups, and
// cudaLaunchHostFunc is not called after a context error, which would leave promises pending for ever.
#pragma once

#include <cuda_runtime_api.h>
#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "common/status.h"

namespace warptile::addon {

class Waiter {
 public:
  struct Job {
    cudaEvent_t event = nullptr;
    bool owns_event = false;
    // On the waiter's thread, after the event. Its status reaches the callback.
    std::function<Status()> finish;
    // On the JavaScript thread, always, also where `finish` did not run.
    std::function<void()> release;
    // callback(code | undefined, message, value)
    Napi::FunctionReference callback;
    // Keeps the memory that `finish` writes from being collected.
    Napi::ObjectReference target;
    Status status;
    double value = 0;
  };

  // `on_error` is told, on the JavaScript thread, what a job failed with, before its callback is.
  Waiter(Napi::Env env, int device, std::function<void(const Status&)> on_error);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // On the JavaScript thread.
  void enqueue(std::unique_ptr<Job> job);
  // On the JavaScript thread: waits for the thread to end. With `finish_pending`, all queued jobs are waited for and
  // delivered later by the event loop, so this object must live on; without, they are dropped.
  void stop(bool finish_pending);

 private:
  void run(int device);
  static void deliver(Napi::Env env, Napi::Function js, Waiter* waiter, Job* job);
  using Completions = Napi::TypedThreadSafeFunction<Waiter, Job, deliver>;

  Napi::Env env_;
  std::function<void(const Status&)> on_error_;
  Completions completions_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  enum class Mode { kRunning, kFinishing, kDropping } mode_ = Mode::kRunning;
  size_t pending_ = 0;  // on the JavaScript thread: queued and not delivered
  std::thread thread_;
};

}  // namespace warptile::addon
