// The dense products of the polar-low network (crop 1024): GFLOP/s of each direction and percent of
// the multiply-add ceiling measured in the same run; GB/s of the traffic that can't be avoided and
// percent of the copy bandwidth. bench/gemm.sh runs it beside PyTorch.
//   bench_gemm [--batch N] [--threads N] [--seconds S per product] [--only TEXT] [--target NAME]
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "bench/kernels/ceilings.h"
#include "bench/kernels/measure.h"
#include "hwy/targets.h"
#include "kernels/cpu/ops.h"

using namespace fulmar;

namespace {

struct Product {
  std::string name;
  int64_t side, inputs, outputs;
  int64_t kernel = 1, stride = 1;
  bool same = false;  // padding of 'same'
};

// In the order of the network; the first pointwise product of a block comes from the block before.
std::vector<Product> products() {
  std::vector<Product> all{{"stem", 1024, 3, 8, 3, 2, true}};
  int64_t side = 512, inputs = 8;
  for (int64_t width : {8, 16, 32, 64, 128, 256, 512}) {
    const std::string block = "block " + std::to_string(all.size() / 3 + 1);
    all.push_back({block + " first", side, inputs, width});
    all.push_back({block + " second", side, width, width});
    all.push_back({block + " skip", side, inputs, width, 1, 2});
    inputs = width;
    side /= 2;
  }
  all.push_back({"tail", side, inputs, 1024});
  all.push_back({"dense 3x3", 64, 64, 64, 3, 1, true});
  all.push_back({"unet down1", 256, 24, 16, 3, 1, true});
  all.push_back({"unet 16", 256, 16, 16, 3, 1, true});
  all.push_back({"unet up1", 256, 48, 16, 3, 1, true});
  all.push_back({"unet up2", 128, 96, 32, 3, 1, true});
  all.push_back({"unet 32", 128, 32, 32, 3, 1, true});
  all.push_back({"unet 64", 64, 64, 64, 3, 1, true});
  return all;
}

class Tensor {
 public:
  Tensor(Stream& stream, const Shape& shape)
      : stream_(stream), view_(view_of(nullptr, shape, DType::f32)) {
    view_.data = cpu::allocate(stream, view_.bytes());
    for (int64_t i = 0; i < shape.elements(); i++)
      view_.as<float>()[i] = static_cast<float>(i * 2654435761 % 2001 - 1000) / 1000;
  }
  ~Tensor() { cpu::release(stream_, view_.data, view_.bytes()); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  const View& view() const { return view_; }
  double bytes() const { return static_cast<double>(view_.bytes()); }

 private:
  Stream& stream_;
  View view_;
};

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Direction {
  double flop, bytes;  // bytes that must be read or written
  std::function<void()> body;
};

// Each round runs a ceiling and then the product, so that both see the same clock: it falls by a
// tenth within milliseconds of full use. Prints medians.
void print_direction(Stream& stream, const Direction& direction, double copy_gbytes,
                     double budget) {
  direction.body();
  std::vector<double> ceiling, seconds;
  const auto begin = std::chrono::steady_clock::now();
  while (seconds.size() < 5 ||
         std::chrono::steady_clock::now() - begin < std::chrono::duration<double>(budget)) {
    ceiling.push_back(bench::fma_gflops(*stream.pool));
    seconds.push_back(seconds_of(direction.body));
  }
  const double time = median(seconds), rate = direction.flop / time / 1e9;
  const double bytes = direction.bytes / time / 1e9;
  std::printf(" | %8.3f %6.1f %6.1f %4.0f%% %5.1f %4.0f%%", time * 1e3, rate, median(ceiling),
              100 * rate / median(ceiling), bytes, 100 * bytes / copy_gbytes);
  std::fflush(stdout);
}

void measure(Stream& stream, const Product& p, int64_t batch, double budget) {
  Window window;
  window.stride = {p.stride, p.stride};
  if (p.same) window.padding = {p.stride == 1, 1, p.stride == 1, 1};
  const int64_t out =
      window_extent(p.side, p.kernel, p.stride, 1, window.padding[0], window.padding[1]);
  const Tensor x(stream, {batch, p.side, p.side, p.inputs}),
      w(stream, {p.kernel, p.kernel, p.inputs, p.outputs}), bias(stream, {p.outputs}),
      y(stream, {batch, out, out, p.outputs});
  const size_t bytes =
      std::max({cpu::conv2d_weight_grad_workspace(stream, x.view(), y.view(), w.view(), window, 1),
                cpu::conv2d_workspace(stream, x.view(), w.view(), bias.view(), y.view(), window, 1),
                cpu::conv2d_input_grad_workspace(stream, y.view(), w.view(), x.view(), window, 1)});
  const Tensor work(stream, {static_cast<int64_t>(bytes / sizeof(float)) + 1});
  const double flop = 2.0 * static_cast<double>(batch * out * out * p.outputs) *
                      static_cast<double>(p.kernel * p.kernel * p.inputs);
  // A 1x1 convolution with a stride reads only the rows that it needs.
  const double x_read = x.bytes() / static_cast<double>(p.kernel < p.stride ? p.stride : 1);

  Device device(cpu_backend(), stream);
  const double copy = bench::copy_gbytes(device);
  std::printf("%-14s %4lld^2 %4lld -> %-4lld", p.name.c_str(), static_cast<long long>(p.side),
              static_cast<long long>(p.inputs), static_cast<long long>(p.outputs));
  const auto run = [&](double read_and_written, const std::function<void()>& body) {
    print_direction(stream, {flop, read_and_written + w.bytes(), body}, copy, budget);
  };
  run(x_read + y.bytes(), [&] {
    cpu::conv2d(stream, x.view(), w.view(), bias.view(), y.view(), window, 1, work.view().data);
  });
  run(x.bytes() + y.bytes(), [&] {
    cpu::conv2d_input_grad(stream, y.view(), w.view(), x.view(), window, 1, work.view().data);
  });
  run(x_read + y.bytes(), [&] {
    cpu::conv2d_weight_grad(stream, x.view(), y.view(), w.view(), window, 1, work.view().data);
  });
  std::printf(" | %5.1f\n", copy);
}

}  // namespace

int main(int argc, char** argv) {
  int64_t batch = 16;
  int threads = 0;
  double budget = 0.3;
  std::string only, target;
  CLI::App app("Dense products of the polar-low network against the machine's ceilings");
  app.add_option("--batch", batch, "images");
  app.add_option("--threads", threads, "0: one per processor");
  app.add_option("--seconds", budget, "time spent on each product and direction");
  app.add_option("--only", only, "products whose name contains this");
  app.add_option("--target", target, "instruction set, e.g. AVX2");
  CLI11_PARSE(app, argc, argv);
  for (int64_t t : hwy::SupportedAndGeneratedTargets())
    if (hwy::TargetName(t) == target) hwy::SetSupportedTargetsForTest(t);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());

  ThreadPool pool(threads);
  Stream stream{&pool};
  std::printf(
      "batch %lld, %d threads, %s. Per direction: ms, GFLOP/s, multiply-add ceiling, %% of it, "
      "GB/s, "
      "%% of copy; GB/s of a copy last\n",
      static_cast<long long>(batch), pool.threads(),
      hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets()));
  std::printf("%-30s | %-39s | %-39s | %-39s |\n", "product", "forward", "input gradient",
              "weight gradient");
  for (const Product& p : products())
    if (p.name.find(only) != std::string::npos) measure(stream, p, batch, budget);
}
