// Task<T>: a lazy coroutine that belongs to one loop. It starts when awaited (or spawned) and resumes its awaiter when done.
//
// Threads: one Task runs on one thread at a time; in practice on the loop's. Exceptions do not travel: one that escapes ends the process.
// Do not put a capturing lambda that is itself a coroutine on the stack of something that ends before it: its captures die with the lambda.
#pragma once
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>

namespace snapward {

template <class T>
class [[nodiscard]] Task;

namespace task_detail {

struct PromiseBase {
  std::coroutine_handle<> awaiter;

  struct Final {
    static bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      const auto next = self.promise().awaiter;
      return next ? next : std::noop_coroutine();
    }
    static void await_resume() noexcept {}
  };

  static std::suspend_always initial_suspend() noexcept { return {}; }
  static Final final_suspend() noexcept { return {}; }
  [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& v) {
    value.emplace(std::forward<U>(v));
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  static void return_void() noexcept {}
};

}  // namespace task_detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = task_detail::Promise<T>;
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
    handle_.promise().awaiter = awaiter;
    return handle_;
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return std::move(*handle_.promise().value);
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

namespace task_detail {
template <class T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() { return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this)); }

// A coroutine that starts at once and frees itself; its scope knows it until then.
struct Detached {
  struct promise_type;
};
}  // namespace task_detail

// TaskScope: where tasks run on their own. It outlives none of them: what is still suspended when the scope ends is destroyed, so that
// nothing resumes into a world that is gone. One thread at a time, as all tasks.
class TaskScope {
 public:
  TaskScope() = default;
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;
  ~TaskScope() {
    while (!roots_.empty()) std::coroutine_handle<>::from_address(*roots_.begin()).destroy();
  }

  // Runs a task, now, up to its first wait; `done` hears of its end.
  template <class T, class Done>
  void spawn(Task<T> task, Done done) {
    run(*this, std::move(task), std::move(done));
  }
  void spawn(Task<void> task) {
    run(*this, std::move(task), [] {});
  }
  [[nodiscard]] std::size_t unfinished() const { return roots_.size(); }

 private:
  friend struct task_detail::Detached::promise_type;
  template <class T, class Done>
  static task_detail::Detached run(TaskScope&, Task<T> task, Done done);
  std::set<void*> roots_;
};

namespace task_detail {
struct Detached::promise_type {
  template <class... Rest>
  explicit promise_type(TaskScope& owner, Rest&&...) : scope(owner) {
    scope.roots_.insert(std::coroutine_handle<promise_type>::from_promise(*this).address());
  }
  promise_type(const promise_type&) = delete;
  promise_type& operator=(const promise_type&) = delete;
  ~promise_type() { scope.roots_.erase(std::coroutine_handle<promise_type>::from_promise(*this).address()); }
  static Detached get_return_object() noexcept { return {}; }
  static std::suspend_never initial_suspend() noexcept { return {}; }
  static std::suspend_never final_suspend() noexcept { return {}; }
  static void return_void() noexcept {}
  [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
  TaskScope& scope;
};
}  // namespace task_detail

template <class T, class Done>
task_detail::Detached TaskScope::run(TaskScope&, Task<T> task, Done done) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(task);
    done();
  } else {
    done(co_await std::move(task));
  }
}

// One value handed over once, from a callback to a coroutine: `co_await future` gets what `future.set(...)` gives. Copies share it.
template <class T>
class Future {
 public:
  void set(T value) const {
    state_->value.emplace(std::move(value));
    if (state_->waiter) std::exchange(state_->waiter, nullptr).resume();
  }
  [[nodiscard]] bool is_set() const { return state_->value.has_value(); }
  [[nodiscard]] bool await_ready() const noexcept { return state_->value.has_value(); }
  void await_suspend(std::coroutine_handle<> waiter) const noexcept { state_->waiter = waiter; }
  T await_resume() const { return std::move(*state_->value); }

 private:
  struct State {
    std::optional<T> value;
    std::coroutine_handle<> waiter;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace snapward
