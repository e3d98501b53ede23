#include "engine/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "engine/leaf.h"
#include "engine/readback.h"
#include "engine/turn.h"
#include "kernels/bf16.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

using ops::Leaf;

const char* plural(int64_t n) { return n == 1 ? "" : "s"; }

template <class To, class From>
std::vector<To> converted(std::span<const From> values) {
  return std::vector<To>(values.begin(), values.end());
}

// By way of float, as kernels round.
std::vector<bf16> as_bf16(std::span<const double> values) {
  std::vector<bf16> rounded;
  rounded.reserve(values.size());
  for (const double value : values) rounded.push_back(to_bf16(static_cast<float>(value)));
  return rounded;
}

constexpr const char* arena_in_use = "a Session, or an Arena that several share,";

// Graphs of a session: for inputs that lie in two places in turn, and some more.
constexpr size_t kept_graphs = 4;

}  // namespace

std::byte* Arena::take(Device& device, size_t bytes) {
  taken_++;
  if (memory_.bytes() < bytes) {
    memory_ = DeviceBuffer();  // first free, then take: the two need not fit together
    memory_ = DeviceBuffer(device, bytes);
  }
  return memory_.data();
}

Session::Session(Context& context, Device& device, std::shared_ptr<const Tape> tape,
                 std::span<const Val> outputs, Model* model, std::shared_ptr<Arena> arena,
                 const SessionOptions& options)
    : context_(&context),
      device_(&device),
      tape_(std::move(tape)),
      model_(model),
      arena_(arena ? std::move(arena) : std::make_shared<Arena>()),
      options_(options),
      plan_(make_plan(*tape_, outputs, device, PlanOptions{options.reuse})) {
  const auto nodes = static_cast<size_t>(tape_->size());
  leaves_.resize(nodes);
  set_.resize(nodes, false);
  inputs_.resize(nodes);
  for (int n : plan_.leaves) {
    const Leaf& leaf = *ops::as_leaf(tape_->node(n));
    if (leaf.kind() == Leaf::Kind::input) continue;
    if (!model_)
      usage_error("the tape uses '" + leaf.key() + "', which lives in a Model, and none was given");
    leaves_[n] = model_->view(leaf.key(), tape_->node(n).outputs[0]);
    set_[n] = true;
  }
  updates_ = std::any_of(plan_.steps.begin(), plan_.steps.end(), [&](const Plan::Step& step) {
    return tape_->node(step.node).op->updates_state();
  });
}

View Session::input_view(Val input, const char* verb) const {
  const ValueInfo& info = tape_->info(input);
  const Leaf* leaf = ops::as_leaf(tape_->node(input.node));
  if (!leaf || leaf->kind() != Leaf::Kind::input)
    usage_error(tape_->describe(input.node) + " is not an input and can't be " + verb);
  return view_of(nullptr, info.shape, type_on(*device_, info));
}

void Session::set_bytes(Val input, const void* host, size_t bytes) {
  const View wanted = input_view(input, "set");
  const std::string& name = ops::as_leaf(tape_->node(input.node))->key();
  if (bytes != wanted.bytes())
    usage_error("input '" + name + "' takes " + std::to_string(wanted.bytes()) + " bytes (" +
                wanted.to_string() + "), " + std::to_string(bytes) + " given");
  if (!host && bytes > 0) usage_error("input '" + name + "' was given a null pointer");
  DeviceBuffer& memory = inputs_[input.node];
  if (memory.bytes() != bytes) {
    try {
      memory = DeviceBuffer(*device_, bytes);
    } catch (const Error& error) {
      out_of_memory(error, plan_.arena_bytes + input_bytes());
    }
  }
  device_->backend().copy_in(device_->stream(), memory.data(), host, bytes);
  bind(input, view_of(memory.data(), wanted.shape, wanted.type));
}

void Session::bind(Val input, const View& device_memory) {
  const View wanted = input_view(input, "bound");
  const auto refuse = [&](const std::string& what) {
    usage_error("input '" + ops::as_leaf(tape_->node(input.node))->key() + "' takes " +
                wanted.to_string() + ", " + what);
  };
  if (device_memory.shape != wanted.shape || device_memory.type != wanted.type)
    refuse(device_memory.to_string() + " given");
  if (!device_memory.data && wanted.bytes() > 0) refuse("a null pointer given");
  if (!device_memory.is_contiguous()) refuse("contiguous; a view with gaps given");
  if (leaves_[input.node].data != device_memory.data) bound_.clear();  // views are bound anew
  leaves_[input.node] = device_memory;
  set_[input.node] = true;
}

void Session::set(Val input, std::span<const double> values) {
  const DType type = type_on(*device_, tape_->info(input));
  if (type == DType::f64) return set_bytes(input, values.data(), values.size_bytes());
  if (type == DType::bf16) {
    const std::vector<bf16> rounded = as_bf16(values);
    return set_bytes(input, rounded.data(), rounded.size() * sizeof(bf16));
  }
  if (type != DType::f32) usage_error(std::string("float values for an input of ") + name_of(type));
  const auto narrow = converted<float>(values);
  set_bytes(input, narrow.data(), narrow.size() * sizeof(float));
}

void Session::set(Val input, std::span<const float> values) {
  const DType type = type_on(*device_, tape_->info(input));
  if (type == DType::f32) return set_bytes(input, values.data(), values.size_bytes());
  const auto wide = converted<double>(values);
  set(input, std::span<const double>(wide));
}

void Session::set(Val input, std::span<const int32_t> values) {
  const DType type = type_on(*device_, tape_->info(input));
  if (type != DType::i32) usage_error(std::string("i32 values for an input of ") + name_of(type));
  set_bytes(input, values.data(), values.size_bytes());
}

void Session::take_memory() {
  for (int n : plan_.leaves)
    if (!set_[n])
      usage_error("input '" + ops::as_leaf(tape_->node(n))->key() + "' was not set before run()");
  // A tape of state updates alone needs no arena, and leaves the others' results alone.
  try {
    base_ = plan_.arena_bytes > 0 ? arena_->take(*device_, plan_.arena_bytes) : nullptr;
    if (kept_.bytes() < plan_.kept_bytes) kept_ = DeviceBuffer(*device_, plan_.kept_bytes);
  } catch (const Error& error) {
    out_of_memory(error, plan_.arena_bytes + plan_.kept_bytes);
  }
  taken_ = 0;  // until all steps have run
}

void Session::bind_views() {
  if (base_ == bound_base_ && bound_.size() == plan_.steps.size()) return;
  bound_base_ = base_;
  bound_.clear();
  for (const Plan::Step& step : plan_.steps) {
    const Node& node = tape_->node(step.node);
    Bound bound;
    for (int i = 0; i < static_cast<int>(node.inputs.size()); i++) {
      bound.in.push_back(node.inputs[i] ? place(node.inputs[i]) : View{});
      if (!node.op->reads(i)) bound.in.back().data = nullptr;
    }
    for (int i = 0; i < static_cast<int>(node.outputs.size()); i++)
      bound.out.push_back(place(Val{step.node, i}));
    if (step.work >= 0) bound.work = address(plan_.buffers[step.work]);
    bound_.push_back(std::move(bound));
  }
}

View Session::view(Val value) {
  tape_->info(value);  // throws where there is no such value
  if (const int buffer = plan_.allocation(value).buffer; buffer >= 0) {
    const bool kept = plan_.buffers[static_cast<size_t>(buffer)].kept;
    const bool none = kept ? kept_version_ == 0 : taken_ == 0;
    if (none || (!kept && taken_ != arena_->taken()))
      usage_error(tape_->describe(value.node) + " has no value: " +
                  (none ? "run() the session first"
                        : "another session has run in the arena since; run() again"));
  }
  return place(value);
}

View Session::place(Val value) {
  const ValueInfo& info = tape_->info(value);
  const Allocation& allocation = plan_.allocation(value);
  if (allocation.buffer < 0) {
    if (const Leaf* leaf = ops::as_leaf(tape_->node(value.node)); leaf && !set_[value.node])
      usage_error("input '" + leaf->key() + "' was not set");
    if (!leaves_[value.node].data)
      usage_error(tape_->describe(value.node) +
                  " has no memory in this session: make it an output");
    return leaves_[value.node];
  }
  return view_of(address(plan_.buffers[allocation.buffer]) + allocation.offset, info.shape,
                 type_on(*device_, info));
}

std::byte* Session::address(const Buffer& buffer) const {
  return (buffer.kept ? kept_.data() : base_) + buffer.offset;
}

void Session::stop_if_cancelled() const {
  if (options_.cancellable && context_->cancel.load(std::memory_order_relaxed))
    throw Error(ErrorKind::cancelled, "interrupted");
}

void Session::run_step(size_t step) {
  stop_if_cancelled();
  const int n = plan_.steps[step].node;
  const Bound& bound = bound_[step];
  try {
    tape_->node(n).op->run(*device_, {bound.in, bound.out, bound.work});
    if (options_.debug) device_->backend().synchronize(device_->stream());
  } catch (const Error& error) {
    device_failed(error, n);
  }
  if (options_.debug) check_finite(step);
}

void Session::begin_run() {
  take_memory();
  stop_if_cancelled();
  if (updates_ && model_) model_->changed();
  run_once();
}

void Session::run_once() {
  if (plan_.once == 0) return;
  const uint64_t version = model_ ? model_->version() : 1;
  if (kept_version_ == version) return;
  bind_views();
  kept_version_ = 0;  // until all of them have run
  for (int step = 0; step < plan_.once; step++) run_step(static_cast<size_t>(step));
  kept_version_ = version;
}

void Session::run_steps() {
  bind_views();
  for (auto step = static_cast<size_t>(plan_.once); step < plan_.steps.size(); step++)
    run_step(step);
}

std::vector<const void*> Session::memory_of_run() const {
  std::vector<const void*> memory{base_};
  for (int n : plan_.leaves) memory.push_back(leaves_[n].data);
  return memory;
}

DeviceGraph* Session::captured(const std::vector<const void*>& memory) {
  const auto known = std::find_if(captured_.begin(), captured_.end(),
                                  [&](const Captured& c) { return c.memory == memory; });
  if (known == captured_.end()) return nullptr;
  std::rotate(captured_.begin(), known, known + 1);
  DeviceGraph& graph = captured_[0].graph;
  if (graph) return &graph;
  try {
    graph = DeviceGraph(*device_, [&] { run_steps(); });
    return &graph;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::device) throw;
    try {
      device_->backend().synchronize(device_->stream());
    } catch (const Error& lost) {
      device_failed(lost, -1);
    }
    options_.capture = false;
    captured_.clear();
    context_->log("a run can't be captured and goes on kernel by kernel, which takes longer: " +
                  std::string(error.what()));
    return nullptr;
  }
}

void Session::run() {
  const Turn turn(arena_->busy(), arena_in_use);
  begin_run();
  const bool capture = captures() && !options_.debug && device_->backend().begin_capture;
  const auto memory = capture ? memory_of_run() : std::vector<const void*>();
  if (DeviceGraph* graph = capture ? captured(memory) : nullptr) {
    try {
      graph->replay();
    } catch (const Error& error) {
      device_failed(error, -1);
    }
    replays_++;
  } else {
    run_steps();
    // What ran whole has its code and memory on the device: next time it can be captured.
    if (capture && captures()) {
      captured_.insert(captured_.begin(), Captured{memory, {}});
      if (captured_.size() > kept_graphs) captured_.pop_back();
    }
  }
  taken_ = arena_->taken();
}

std::vector<double> Session::run_timed() {
  using Clock = std::chrono::steady_clock;
  const Turn turn(arena_->busy(), arena_in_use);
  begin_run();
  bind_views();
  std::vector<double> seconds(static_cast<size_t>(plan_.once), 0.0);
  for (auto step = static_cast<size_t>(plan_.once); step < plan_.steps.size(); step++) {
    const auto start = Clock::now();
    run_step(step);
    device_->backend().synchronize(device_->stream());
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  taken_ = arena_->taken();
  return seconds;
}

size_t Session::input_bytes() const {
  size_t bytes = 0;
  for (int n : plan_.leaves)
    if (ops::as_leaf(tape_->node(n))->kind() == Leaf::Kind::input) {
      const ValueInfo& info = tape_->node(n).outputs[0];
      bytes += view_of(nullptr, info.shape, type_on(*device_, info)).bytes();
    }
  return bytes;
}

// Errors of a kernel; of other kinds, they are about its arguments.
void Session::device_failed(const Error& error, int node) const {
  if (error.kind() != ErrorKind::device) throw error;
  const bool waited = options_.debug || device_->backend().host_memory;
  const std::string where = node < 0 ? "in a captured run" : "in " + tape_->describe(node);
  device_error(device_->describe() + ", " + where + (waited || node < 0 ? "" : " or before it") +
               ": " + error.what());
}

void Session::out_of_memory(const Error& error, size_t bytes) const {
  const MemoryInfo memory = device_->backend().memory(device_->stream());
  const auto mebibytes = [](size_t n) {
    return std::to_string((n + (1 << 20) - 1) >> 20) + " MiB";
  };
  // The batch is what the inputs begin with.
  int64_t batch = 0;
  for (int n : plan_.leaves)
    if (ops::as_leaf(tape_->node(n))->kind() == Leaf::Kind::input && batch == 0)
      batch = tape_->node(n).outputs[0].shape.images();
  const double share = static_cast<double>(memory.free_bytes) / static_cast<double>(bytes);
  const auto fits = static_cast<int64_t>(static_cast<double>(batch) * std::min(share, 1.0));
  device_error("out of memory on " + device_->describe() + ": the run plans " +
               mebibytes(plan_.arena_bytes) + " for activations and scratch, " +
               mebibytes(input_bytes()) + " for its inputs and " +
               mebibytes(model_ ? model_->bytes() : 0) + " for weights and their state; " +
               mebibytes(memory.free_bytes) + " of " + mebibytes(memory.total_bytes) +
               " are free; " +
               (fits > 0 ? "a batch of about " + std::to_string(fits) + " instead of " +
                               std::to_string(batch) + " fits"
                         : std::string("not even a batch of 1 fits")) +
               " (" + error.what() + ")");
}

int32_t Session::count_nonfinite(const View& x, int node) {
  const Backend& backend = device_->backend();
  int32_t count = 0;
  try {
    if (count_.bytes() == 0) count_ = DeviceBuffer(*device_, sizeof count);
    backend.count_nonfinite(device_->stream(), {&x, 1}, view_of(count_.data(), {1}, DType::i32));
    backend.copy_out(device_->stream(), &count, count_.data(), sizeof count);
    backend.synchronize(device_->stream());
  } catch (const Error& error) {
    device_failed(error, node);
  }
  return count;
}

void Session::check_finite(size_t step) {
  const int n = plan_.steps[step].node;
  for (size_t i = 0; i < bound_[step].out.size(); i++) {
    if (!tape_->node(n).outputs[i].is_real()) continue;
    const View& out = bound_[step].out[i];
    const int32_t bad = count_nonfinite(out, n);
    if (bad > 0)
      throw Error(ErrorKind::diverged, tape_->describe(n) + ": " + std::to_string(bad) + " of " +
                                           std::to_string(out.shape.elements()) + " value" +
                                           plural(out.shape.elements()) + " are NaN or infinite");
  }
}

View Session::output_view(Val output) {
  tape_->info(output);  // throws where there is no such value
  const bool leaf = plan_.allocation(output).buffer < 0;
  if (!leaf && std::find(plan_.outputs.begin(), plan_.outputs.end(), output) == plan_.outputs.end())
    usage_error(tape_->describe(output.node) +
                " is not an output of this session: its memory may be in use for something else");
  return view(output);
}

void Session::copy_out(const View& from, void* to) {
  try {
    device_->backend().copy_out(device_->stream(), to, from.data, from.bytes());
    device_->backend().synchronize(device_->stream());
  } catch (const Error& error) {
    device_failed(error, last_node());
  }
}

void Session::read_bytes(Val output, std::span<std::byte> bytes) {
  const View from = output_view(output);
  if (bytes.size() != from.bytes())
    usage_error(tape_->describe(output.node) + " has " + std::to_string(from.bytes()) + " bytes (" +
                from.to_string() + "), room for " + std::to_string(bytes.size()) + " was given");
  copy_out(from, bytes.data());
}

std::vector<double> Session::read(Val output) {
  const View from = output_view(output);
  std::vector<std::byte> bytes(from.bytes());
  copy_out(from, bytes.data());
  std::vector<double> values;
  to_doubles(view_of(bytes.data(), from.shape, from.type), values);
  return values;
}

void Session::read(Val output, std::span<float> values) {
  const View from = output_view(output);
  if (std::ssize(values) != from.shape.elements())
    usage_error(tape_->describe(output.node) + " has " + std::to_string(from.shape.elements()) +
                " elements, room for " + std::to_string(values.size()) + " was given");
  if (from.type == DType::f32) return copy_out(from, values.data());
  const std::vector<double> wide = read(output);
  std::transform(wide.begin(), wide.end(), values.begin(),
                 [](double value) { return static_cast<float>(value); });
}

void Session::fetch(Val output, std::byte* pinned) {
  const View from = output_view(output);
  try {
    device_->backend().transfer(device_->stream(), pinned, from.data, from.bytes());
  } catch (const Error& error) {
    device_failed(error, last_node());
  }
}

uint64_t Session::mark() { return device_->backend().mark(device_->stream()); }

void Session::await(uint64_t mark) {
  try {
    device_->backend().wait(device_->stream(), mark);
  } catch (const Error& error) {
    device_failed(error, last_node());
  }
}

}  // namespace fulmar
