#include "addon/waiter.h"

#include "addon/errors.h"

namespace warptile::addon {

Waiter::Waiter(Napi::Env env, int device, std::function<void(const Status&)> on_error)
    : env_(env), on_error_(std::move(on_error)) {
  completions_ = Completions::New(env, "warptile waiter", 0, 1, this);
  completions_.Unref(env);  // an idle device does not keep the process alive
  thread_ = std::thread([this, device] { run(device); });
}

Waiter::~Waiter() { stop(false); }

void Waiter::enqueue(std::unique_ptr<Job> job) {
  if (pending_++ == 0) completions_.Ref(env_);
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Waiter::stop(bool finish_pending) {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    mode_ = finish_pending ? Mode::kFinishing : Mode::kDropping;
  }
  wake_.notify_one();
  thread_.join();
  // Release lets the event loop deliver what is queued before the function goes away.
  if (finish_pending) {
    completions_.Release();
  } else {
    completions_.Abort();
  }
}

void Waiter::run(int device) {
  cudaSetDevice(device);
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return mode_ != Mode::kRunning || !queue_.empty(); });
      if (mode_ == Mode::kDropping || queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    if (job->status.is_ok()) job->status = Status::from_cuda(cudaEventSynchronize(job->event), "cudaEventSynchronize");
    if (job->status.is_ok() && job->finish) job->status = job->finish();
    // The thread-safe function owns the job from here; where it is closing, the environment is going down and the
    // job's references go with it.
    if (completions_.NonBlockingCall(job.release()) != napi_ok) return;
  }
}

void Waiter::deliver(Napi::Env env, Napi::Function, Waiter* waiter, Job* raw) {
  const std::unique_ptr<Job> job(raw);
  if (env == nullptr) return;  // the environment is going down
  if (job->owns_event) cudaEventDestroy(job->event);
  if (job->release) job->release();
  if (!job->status.is_ok()) waiter->on_error_(job->status);
  if (--waiter->pending_ == 0) waiter->completions_.Unref(env);
  const Napi::HandleScope scope(env);
  if (job->status.is_ok()) {
    job->callback.Call({env.Undefined(), env.Undefined(), Napi::Number::New(env, job->value)});
  } else {
    job->callback.Call({Napi::String::New(env, error_code(job->status.code())),
                        Napi::String::New(env, job->status.message()), env.Undefined()});
  }
}

}  // namespace warptile::addon
