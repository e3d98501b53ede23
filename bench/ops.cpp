#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/cpu/ops.h"
#include "kernels/pointwise.h"

// Every CPU kernel on tensors of the size that the polar-low network's blocks have (crop 1024,
// batch 16): GB/s of the traffic that the kernel cannot avoid (inputs read once, outputs written
// once), and percent of what copying reaches in the same run. FULMAR_THREADS sets the threads.

namespace {

using namespace fulmar;

int threads() {
  const char* text = std::getenv("FULMAR_THREADS");
  return text ? std::atoi(text) : 0;
}

Stream& stream() {
  static ThreadPool pool(threads());
  static Stream stream{&pool, nullptr};
  return stream;
}

// Tensors on large pages, as a Session's arena has them; values are small and of both signs.
class Tensors {
 public:
  Tensors() = default;
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;
  ~Tensors() {
    for (const View& view : views_) cpu::release(stream(), view.data, view.bytes());
  }

  View operator()(const Shape& shape, DType type = DType::f32) {
    const size_t bytes = static_cast<size_t>(shape.elements()) * size_of(type);
    const View view = view_of(cpu::allocate(stream(), bytes), shape, type);
    views_.push_back(view);
    constexpr int64_t grain = 1 << 16;
    stream().pool->run(shape.elements() / grain + 1, [&](int64_t task, int) {
      const int64_t end = std::min(shape.elements(), (task + 1) * grain);
      for (int64_t i = task * grain; i < end; i++) set(view, i);
    });
    return view;
  }

 private:
  static void set(const View& view, int64_t i) {
    const int64_t value = i * 2654435761 % 2001 - 1000;
    if (view.type == DType::f32)
      view.as<float>()[i] = static_cast<float>(value) / 1000;
    else if (view.type == DType::f64)
      view.as<double>()[i] = static_cast<double>(std::abs(value)) / 1000;
    else
      view.as<uint8_t>()[i] = static_cast<uint8_t>(i % 9);
  }

  std::vector<View> views_;
};

// Bytes per second of the fastest of several large copies, counting what is read and written.
double copy_bandwidth() {
  static const double measured = [] {
    Tensors tensor;
    const View x = tensor({16, 512, 512, 8}), y = tensor(x.shape);
    double best = 0;
    for (int i = 0; i < 20; i++) {
      const auto start = std::chrono::steady_clock::now();
      cpu::copy(stream(), x, y);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      best = std::max(best, 2 * static_cast<double>(x.bytes()) / seconds.count());
    }
    return best;
  }();
  return measured;
}

// `traffic`: what the kernel reads and writes.
template <class Kernel>
void measure(benchmark::State& state, std::initializer_list<View> traffic, const Kernel& kernel) {
  double bytes = 0, seconds = 0;
  for (const View& view : traffic) bytes += static_cast<double>(view.bytes());
  kernel();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    kernel();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    state.SetIterationTime(time.count());
    seconds += time.count();
  }
  const double rate = bytes * static_cast<double>(state.iterations()) / seconds;
  state.counters["GB/s"] = rate * 1e-9;
  state.counters["%copy"] = 100 * rate / copy_bandwidth();
}

Shape block(int64_t channels) { return {16, 4096 / channels, 4096 / channels, channels}; }
Shape halved(const Shape& s) { return {s[0], s[1] / 2, s[2] / 2, s[3]}; }

void copy(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(8)), y = tensor(x.shape);
  measure(state, {x, y}, [=] { cpu::copy(stream(), x, y); });
}
BENCHMARK(copy)->UseManualTime()->Unit(benchmark::kMillisecond);

void copy_every_other(benchmark::State& state) {
  Tensors tensor;
  View x = tensor(block(8));
  const View y = tensor(halved(x.shape));
  x.shape = y.shape;
  x.stride[1] *= 2;
  x.stride[2] *= 2;
  measure(state, {x, y}, [=] { cpu::copy(stream(), x, y); });
}
BENCHMARK(copy_every_other)->UseManualTime()->Unit(benchmark::kMillisecond);

void fill(benchmark::State& state) {
  Tensors tensor;
  const View y = tensor(block(8));
  measure(state, {y}, [=] { cpu::fill(stream(), y, 1); });
}
BENCHMARK(fill)->UseManualTime()->Unit(benchmark::kMillisecond);

void broadcast_channels(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor({8}), y = tensor(block(8));
  measure(state, {x, y}, [=] { cpu::broadcast(stream(), x, y); });
}
BENCHMARK(broadcast_channels)->UseManualTime()->Unit(benchmark::kMillisecond);

void reduce_sum(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(state.range(0))), y = tensor({state.range(0)});
  measure(state, {x, y}, [=] { cpu::reduce_sum(stream(), x, y); });
}
BENCHMARK(reduce_sum)
    ->ArgName("C")
    ->Arg(8)
    ->Arg(64)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

void count_nonfinite(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(8));
  measure(state, {x}, [=] { benchmark::DoNotOptimize(cpu::count_nonfinite(stream(), x)); });
}
BENCHMARK(count_nonfinite)->UseManualTime()->Unit(benchmark::kMillisecond);

void pointwise(benchmark::State& state, int functor, bool two) {
  Tensors tensor;
  const View a = tensor(block(8)), b = tensor(two ? a.shape : Shape{1}), y = tensor(a.shape);
  measure(state, {a, b, y}, [=] {
    const View x[] = {a, b};
    cpu::pointwise(stream(), functor, {x, two ? size_t{2} : size_t{1}}, y, 1, 0);
  });
}
BENCHMARK_CAPTURE(pointwise, relu, functor_Relu, false)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(pointwise, add, functor_Add, true)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(pointwise, exp, functor_Exp, false)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(pointwise, tanh, functor_Tanh, false)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

void relu_grad(benchmark::State& state) {
  Tensors tensor;
  const View y = tensor(block(8)), dy = tensor(y.shape), dx = tensor(y.shape);
  measure(state, {y, dy, dx},
          [=] { cpu::pointwise_grad(stream(), functor_Relu, y, dy, dx, 0, 0); });
}
BENCHMARK(relu_grad)->UseManualTime()->Unit(benchmark::kMillisecond);

// The blocks' own shapes: C channels at (4096 / C)^2 pixels, 16 images.
void blocks(benchmark::internal::Benchmark* b) {
  b->ArgName("C")->UseManualTime()->Unit(benchmark::kMillisecond);
  for (const int64_t channels : {8, 16, 32, 64, 128, 256, 512}) b->Arg(channels);
}

const Window same3{{1, 1}, {1, 1}, {1, 1, 1, 1}};
const Window pool3{{2, 2}, {1, 1}, {0, 1, 0, 1}};

void depthwise(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), w = tensor({3, 3, channels}), y = tensor(x.shape);
  measure(state, {x, w, y}, [=] { cpu::depthwise_conv2d(stream(), x, w, y, same3); });
}
BENCHMARK(depthwise)->Apply(blocks);

void depthwise_input_grad(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View dy = tensor(block(channels)), w = tensor({3, 3, channels}), dx = tensor(dy.shape);
  measure(state, {dy, w, dx},
          [=] { cpu::depthwise_conv2d_input_grad(stream(), dy, w, dx, same3); });
}
BENCHMARK(depthwise_input_grad)->Apply(blocks);

void depthwise_weight_grad(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), dy = tensor(x.shape), dw = tensor({3, 3, channels});
  std::vector<char> work(cpu::depthwise_conv2d_weight_grad_workspace(stream(), x, dy, dw, same3));
  measure(state, {x, dy, dw},
          [&] { cpu::depthwise_conv2d_weight_grad(stream(), x, dy, dw, same3, work.data()); });
}
BENCHMARK(depthwise_weight_grad)->Apply(blocks);

void channel_sums(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), shift = tensor({channels});
  const View sums = tensor({3, channels}, DType::f64);
  measure(state, {x, shift, sums}, [=] { cpu::channel_sums(stream(), x, shift, sums); });
}
BENCHMARK(channel_sums)->Apply(blocks);

void batch_norm(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), y = tensor(x.shape), each = tensor({channels});
  cpu::fill(stream(), each, 1);
  measure(state, {x, y, each},
          [=] { cpu::batch_norm(stream(), x, each, each, each, each, y, 1e-3); });
}
BENCHMARK(batch_norm)->Apply(blocks);

void batch_norm_grad_sums(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), dy = tensor(x.shape), mean = tensor({channels});
  const View sums = tensor({2, channels}, DType::f64);
  measure(state, {x, dy, mean, sums},
          [=] { cpu::batch_norm_grad_sums(stream(), dy, x, mean, sums); });
}
BENCHMARK(batch_norm_grad_sums)->Apply(blocks);

void batch_norm_grad(benchmark::State& state) {
  Tensors tensor;
  const int64_t channels = state.range(0);
  const View x = tensor(block(channels)), dy = tensor(x.shape), dx = tensor(x.shape);
  const View each = tensor({channels}), sums = tensor({3, channels}, DType::f64);
  cpu::fill(stream(), each, 1);
  cpu::fill(stream(), sums, 1);
  measure(state, {x, dy, dx, each, sums},
          [=] { cpu::batch_norm_grad(stream(), dy, x, each, each, each, sums, sums, dx, 1e-3); });
}
BENCHMARK(batch_norm_grad)->Apply(blocks);

void max_pool(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(state.range(0))), y = tensor(halved(x.shape));
  const View argmax = tensor(y.shape, DType::u8);
  measure(state, {x, y, argmax}, [=] { cpu::max_pool(stream(), x, y, argmax, {3, 3}, pool3); });
}
BENCHMARK(max_pool)->Apply(blocks);

void max_pool_grad(benchmark::State& state) {
  Tensors tensor;
  const View dx = tensor(block(state.range(0))), dy = tensor(halved(dx.shape));
  const View argmax = tensor(dy.shape, DType::u8);
  measure(state, {dx, dy, argmax}, [=] {
    cpu::max_pool_grad(stream(), dy, argmax, dx, {3, 3}, pool3);
  });
}
BENCHMARK(max_pool_grad)->Apply(blocks);

void average_pool(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(8)), y = tensor(halved(x.shape));
  measure(state, {x, y}, [=] { cpu::average_pool(stream(), x, y, {2, 2}, {{2, 2}, {1, 1}, {}}); });
}
BENCHMARK(average_pool)->UseManualTime()->Unit(benchmark::kMillisecond);

void resize_twice(benchmark::State& state) {
  Tensors tensor;
  const View y = tensor(block(8)), x = tensor(halved(y.shape));
  measure(state, {x, y}, [=] { cpu::resize(stream(), x, y, {}); });
}
BENCHMARK(resize_twice)->UseManualTime()->Unit(benchmark::kMillisecond);

void resize_twice_grad(benchmark::State& state) {
  Tensors tensor;
  const View dy = tensor(block(8)), dx = tensor(halved(dy.shape));
  measure(state, {dx, dy}, [=] { cpu::resize_grad(stream(), dy, dx, {}); });
}
BENCHMARK(resize_twice_grad)->UseManualTime()->Unit(benchmark::kMillisecond);

void softmax(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor({4, 1024, 1024, state.range(0)}), y = tensor(x.shape);
  measure(state, {x, y}, [=] { cpu::softmax(stream(), x, y); });
}
BENCHMARK(softmax)->ArgName("K")->Arg(2)->Arg(10)->UseManualTime()->Unit(benchmark::kMillisecond);

void cross_entropy(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor({4, 1024, 1024, 2}), t = tensor(x.shape);
  const View loss = tensor({4, 1024, 1024, 1}), weight = tensor(loss.shape);
  measure(state, {x, t, loss, weight},
          [=] { cpu::softmax_cross_entropy(stream(), x, t, View{}, View{}, loss, weight, {}); });
}
BENCHMARK(cross_entropy)->UseManualTime()->Unit(benchmark::kMillisecond);

void dropout(benchmark::State& state) {
  Tensors tensor;
  const View x = tensor(block(8)), y = tensor(x.shape);
  const StepState step;
  measure(state, {x, y}, [&] { cpu::dropout(stream(), x, y, &step, 0.5, 1); });
}
BENCHMARK(dropout)->UseManualTime()->Unit(benchmark::kMillisecond);

void accumulate(benchmark::State& state) {
  Tensors tensor;
  const View g = tensor({1 << 24}), sum = tensor(g.shape);
  StepState step;
  step.micro_batch = 1;
  measure(state, {g, sum, sum}, [&] { cpu::accumulate(stream(), g, sum, &step); });
}

BENCHMARK(accumulate)->UseManualTime()->Unit(benchmark::kMillisecond);

void adamw(benchmark::State& state) {
  Tensors tensor;
  const Shape shape{1 << 24};
  const View g = tensor(shape), theta = tensor(shape), m = tensor(shape), v = tensor(shape);
  const Segment segment{0, 1 << 24, 1};
  StepState step;
  step.learning_rate = 1e-3;
  cpu::fill(stream(), v, 1);
  measure(state, {g, theta, m, v, theta, m, v},
          [&] { cpu::adamw(stream(), g, theta, m, v, &segment, 1, &step, {}); });
}
BENCHMARK(adamw)->UseManualTime()->Unit(benchmark::kMillisecond);

// A crop of 1024 from 1536 x 1536 x 3 bytes, turned; 4 images.
void warp(benchmark::State& state, double speckle, Interpolation how) {
  Tensors tensor;
  const View source = tensor({4, 1536, 1536, 3}, DType::u8), y = tensor({4, 1024, 1024, 3});
  std::vector<WarpSample> samples(4);
  for (WarpSample& sample : samples) {
    sample.map.a = {0.8, -0.6, 460, 0.6, 0.8, 50};
    sample.source_height = sample.source_width = 1536;
    sample.speckle = speckle;
  }
  WarpOptions options;
  options.interpolation = how;
  options.scale.fill(1.0f / 255);
  measure(state, {y}, [&] { cpu::warp(stream(), source, samples.data(), y, options); });
}
BENCHMARK_CAPTURE(warp, bilinear, 0, Interpolation::bilinear)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(warp, nearest, 0, Interpolation::nearest)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(warp, speckle, 0.5, Interpolation::bilinear)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("threads", std::to_string(stream().pool->threads()));
  benchmark::AddCustomContext("copy GB/s", std::to_string(copy_bandwidth() * 1e-9));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
