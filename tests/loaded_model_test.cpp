#include "model/loaded_model.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels/error.h"
#include "model/model_session.h"
#include "model/program.h"
#include "model/tasks/regression.h"
#include "model/tasks/segmentation.h"
#include "tests/support/array.h"
#include "tests/support/error_of.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::model;
using namespace fulmar::test;

namespace {

constexpr int64_t side = 12, cells = 3;

// Pictures of two bands beside a coarse field; calls pixels, gives a number.
ModelInfo two_headed() {
  ModelInfo info;
  Network& n = info.network;
  n.add("input", "picture", {}, {{"channels", int64_t{2}}});
  n.add("input", "coarse", {}, {{"channels", int64_t{3}}, {"grid", int64_t{4}}});
  n.add("conv2d", "lift", {"picture"}, {{"filters", int64_t{4}}, {"kernel", int64_t{3}}});
  n.add("batch_normalization", "norm", {"lift"});
  n.add("resize", "fine", {"coarse", "picture"});
  n.add("concatenate", "all", {"norm", "fine"});
  n.add("conv2d", "surface", {"all"}, {{"filters", int64_t{3}}});
  n.add("global_average_pooling2d", "pool", {"all"});
  n.add("dense", "height", {"pool"}, {{"units", int64_t{1}}});
  n.set_outputs({"surface", "height"});
  info.preprocess["picture"] = Preprocess::of_pictures(0, side, 2);
  set_heads(info, {{std::make_shared<Segmentation>(std::vector<std::string>{"sea", "ice", "land"}),
                    "surface", "surface/label"},
                   {std::make_shared<Regression>(), "height", "height/label"}});
  return info;
}

struct Saved {
  TempFolder folder;
  std::string path = folder.path("model.safetensors");

  explicit Saved(const std::string& device = "cpu", const TrainingState& state = {}) {
    Context context;
    ModelInfo info = two_headed();
    Model weights = new_model(info, context.device(device), 7);
    if (!state.empty()) {
      info.training_state = state;
      weights.view("/adamw/moment1", weights.flat_info());
    }
    save_checkpoint(path, info, weights);
  }
};

struct Inputs {
  Array<uint8_t> picture;
  Array<float> coarse;

  explicit Inputs(int64_t count, int64_t height = side, int64_t width = side)
      : picture({count, height, width, 2}), coarse({count, cells, cells, 3}) {
    for (int64_t i = 0; i < picture.view().shape.elements(); i++)
      picture[i] = static_cast<uint8_t>(uniform_value(1, i, 0, 256));
    for (int64_t i = 0; i < coarse.view().shape.elements(); i++)
      coarse[i] = static_cast<float>(uniform_value(2, i, -1, 1));
  }
  std::vector<HostTensor> tensors() { return {picture.view(), coarse.view()}; }
};

struct Results {
  Array<uint8_t> classes;
  Array<float> surface;
  Array<float> height;

  explicit Results(int64_t count)
      : classes({count, side, side, 1}),
        surface({count, side, side, 3}),
        height({count, 1, 1, 1}) {}
  std::vector<HostTensor> tensors() { return {classes.view(), surface.view(), height.view()}; }
  std::vector<float> numbers() {
    std::vector<float> all(surface.view().as<float>(),
                           surface.view().as<float>() + surface.view().shape.elements());
    all.push_back(height[0]);
    return all;
  }
};

}  // namespace

TEST_CASE("a loaded model says what it takes and gives") {
  const Saved saved;
  const LoadedModel loaded(saved.path);
  REQUIRE(loaded.inputs().size() == 2);
  CHECK(loaded.inputs()[0].name == "picture");
  CHECK(loaded.inputs()[0].type == DType::u8);
  CHECK(loaded.inputs()[0].pictures);
  CHECK(loaded.inputs()[0].extents == Shape{-1, -1, -1, 2});
  CHECK(loaded.inputs()[1].name == "coarse");
  CHECK(loaded.inputs()[1].type == DType::f32);
  CHECK(loaded.inputs()[1].extents == Shape{-1, cells, cells, 3});
  REQUIRE(loaded.outputs().size() == 3);
  CHECK(loaded.outputs()[0].name == "surface/classes");
  CHECK(loaded.outputs()[0].type == DType::u8);
  CHECK(loaded.outputs()[0].extents == Shape{-1, side, side, 1});
  CHECK(loaded.outputs()[1].name == "surface");
  CHECK(loaded.outputs()[2].name == "height");
  CHECK(loaded.outputs()[2].extents == Shape{-1, 1, 1, 1});
}

TEST_CASE("a session gives what the reference gives, whatever the strides and types") {
  const Saved saved;
  const auto loaded = std::make_shared<const LoadedModel>(saved.path);
  ModelSession session(loaded);
  Inputs in(2);
  Results out(2);
  session.run(in.tensors(), out.tensors());

  ModelSession exact(std::make_shared<const LoadedModel>(saved.path, "reference"));
  Results expected(2);
  exact.run(in.tensors(), expected.tensors());
  for (int64_t i = 0; i < out.surface.view().shape.elements(); i++)
    CHECK(out.surface[i] == doctest::Approx(expected.surface[i]).epsilon(1e-4));
  CHECK(out.height[1] == doctest::Approx(expected.height[1]).epsilon(1e-4));
  CHECK(out.classes[5] == expected.classes[5]);

  // Channels first, every second row from below; numbers as f64, channels first; ones left out.
  std::vector<uint8_t> planes(2 * 2 * 2 * side * side);
  HostTensor picture = in.picture.view();
  picture.data = planes.data() + 2 * side * (side - 1);
  picture.stride = {2 * 2 * side * side, -2 * side, 1, 2 * side * side};
  for (int64_t n = 0; n < 2; n++)
    for (int64_t y = 0; y < side; y++)
      for (int64_t x = 0; x < side; x++)
        for (int64_t c = 0; c < 2; c++)
          static_cast<uint8_t*>(picture.data)[n * picture.stride[0] + y * picture.stride[1] + x +
                                              c * picture.stride[3]] =
              in.picture[((n * side + y) * side + x) * 2 + c];
  std::vector<double> surface(2 * 3 * side * side, -1), heights(4, -1);
  std::vector<uint8_t> classes(2 * side * side);
  HostTensor to_surface = view_of(surface.data(), {2, side, side, 3}, DType::f64);
  to_surface.stride = {3 * side * side, side, 1, side * side};
  HostTensor to_heights = view_of(heights.data(), {2}, DType::f64);
  to_heights.stride = {2};
  const HostTensor to_classes = view_of(classes.data(), {2, side, side}, DType::u8);
  session.run(std::vector<HostTensor>{picture, in.coarse.view()},
              std::vector<HostTensor>{to_classes, to_surface, to_heights});
  for (int64_t n = 0; n < 2; n++)
    for (int64_t p = 0; p < side * side; p++) {
      CHECK(classes[static_cast<size_t>(n * side * side + p)] == out.classes[n * side * side + p]);
      for (int64_t c = 0; c < 3; c++)
        CHECK(surface[static_cast<size_t>((n * 3 + c) * side * side + p)] ==
              out.surface[(n * side * side + p) * 3 + c]);
    }
  CHECK(heights == std::vector<double>{out.height[0], -1, out.height[1], -1});
}

TEST_CASE("a model written in float64 is read as float32, and the other way round") {
  const Saved wide("reference"), narrow("cpu");
  Inputs in(1);
  for (const Saved* saved : {&wide, &narrow}) {
    Results a(1), b(1);
    ModelSession(std::make_shared<const LoadedModel>(saved->path)).run(in.tensors(), a.tensors());
    ModelSession(std::make_shared<const LoadedModel>(saved->path, "reference"))
        .run(in.tensors(), b.tensors());
    CHECK(a.height[0] == doctest::Approx(b.height[0]).epsilon(1e-4));
  }
}

TEST_CASE("outputs that nobody wants are left out, pictures of any size are cut") {
  const Saved saved;
  ModelSession session(std::make_shared<const LoadedModel>(saved.path));
  Inputs large(1, 20, 17);
  Results whole(1), some(1);
  session.run(large.tensors(), whole.tensors());
  HostTensor none;
  session.run(large.tensors(), std::vector<HostTensor>{none, some.surface.view()});
  CHECK(some.surface[7] == whole.surface[7]);
  Inputs cut(1);
  for (int64_t y = 0; y < side; y++)
    for (int64_t i = 0; i < side * 2; i++)
      cut.picture[y * side * 2 + i] = large.picture[((y + 4) * 17 + 2) * 2 + i];
  session.run(cut.tensors(), some.tensors());
  CHECK(some.numbers() == whole.numbers());
}

TEST_CASE("what doesn't fit is refused by the tensor's name, before anything is written") {
  const Saved saved;
  ModelSession session(std::make_shared<const LoadedModel>(saved.path));
  Inputs in(1);
  Results out(1);
  out.height[0] = 42;
  const auto said = [&](std::vector<HostTensor> inputs, std::vector<HostTensor> outputs) {
    return error_of(ErrorKind::usage, [&] { session.run(inputs, outputs); });
  };
  const std::string of = " of " + saved.path + ": ";
  std::vector<HostTensor> good = in.tensors(), bad = good;
  bad.pop_back();
  CHECK(said(bad, {}) == "1 inputs given, the model " + saved.path + " takes 2");
  bad = good;
  bad[0].type = DType::u16;
  CHECK(said(bad, {}) == "input 'picture'" + of +
                             "[1,12,12,2] u16 given, [-1,-1,-1,2] u8, or f32 in the same units, "
                             "expected (-1: any)");
  bad = good;
  bad[1].shape[1] = 4;
  CHECK(said(bad, {}) ==
        "input 'coarse'" + of + "[1,4,3,3] f32 given, [-1,3,3,3] f32 expected (-1: any)");
  bad = good;
  bad[0].shape[0] = 2;
  CHECK(said(bad, {}) == "input 'coarse'" + of +
                             "[1,3,3,3] f32 given, but input 'picture' is [2,12,12,2] u8: the "
                             "first extents must be equal");
  bad = good;
  bad[1].data = nullptr;
  CHECK(said(bad, {}) == "input 'coarse'" + of + "[1,3,3,3] f32 given by a null pointer");
  bad = good;
  bad[0].shape[1] = bad[0].shape[2] = int64_t{1} << 40;
  CHECK(has(said(bad, {}), "which is too large"));
  bad = good;
  bad[0].shape[1] = 5;
  CHECK(has(said(bad, {}), "input 'picture'" + of));

  std::vector<HostTensor> to = out.tensors();
  to[1].shape[3] = 4;
  CHECK(said(good, to) == "output 'surface'" + of +
                              "[1,12,12,4] f32 given, [1,12,12,3] f32 or f64 expected (ones may be "
                              "left out)");
  to = out.tensors();
  to[0].type = DType::f32;
  CHECK(has(said(good, to), "output 'surface/classes'" + of));
  to = out.tensors();
  to.push_back(to[0]);
  CHECK(said(good, to) == "4 outputs asked for, the model " + saved.path + " has 3");
  CHECK(out.height[0] == 42);
}

TEST_CASE("a network without preprocessing takes numbers of any extents") {
  const TempFolder folder;
  const std::string path = folder.path("model.safetensors");
  ModelInfo info;
  info.network.add("input", "field", {}, {{"channels", int64_t{2}}});
  info.network.add("conv2d", "map", {"field"}, {{"filters", int64_t{3}}, {"kernel", int64_t{3}}});
  info.network.add("global_average_pooling2d", "mean", {"map"});
  info.network.set_outputs({"map", "mean"});
  {
    Context context;
    Tape tape;
    record(info.network, tape, {{"field", ops::input(tape, "given", {Shape{1, 8, 8, 2}})}}, {});
    Model weights(context.device("cpu"), tape, 7);
    save_checkpoint(path, info, weights);
  }
  const auto loaded = std::make_shared<const LoadedModel>(path);
  CHECK(loaded->inputs()[0].extents == Shape{-1, -1, -1, 2});
  CHECK_FALSE(loaded->inputs()[0].pictures);
  CHECK(loaded->outputs()[0].extents == Shape{-1, -1, -1, 3});
  CHECK(loaded->outputs()[1].extents == Shape{-1, 1, 1, 3});
  ModelSession session(loaded);
  for (const int64_t size : {5, 9}) {
    Array<float> field({1, size, size, 2}), map({1, size, size, 3}), mean({1, 1, 1, 3});
    for (float& value : field.values) value = 0.5F;
    session.run(std::vector<HostTensor>{field.view()},
                std::vector<HostTensor>{map.view(), mean.view()});
    double sum = 0;
    for (int64_t p = 0; p < size * size; p++) sum += map[p * 3];
    CHECK(mean[0] == doctest::Approx(sum / static_cast<double>(size * size)).epsilon(1e-5));
  }
}

TEST_CASE("threads share a model, each with a session of its own") {
  const Saved saved;
  auto loaded = std::make_shared<const LoadedModel>(saved.path);
  Inputs in(1), large(1, 16, 16);
  Results expected(1), expected_large(1);
  {
    ModelSession session(loaded);
    session.run(in.tensors(), expected.tensors());
    session.run(large.tensors(), expected_large.tensors());
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, loaded, t] {
      ModelSession session(loaded, t < 3 ? 1 : 2);
      Results out(1);
      for (int time = 0; time < 8; time++) {
        session.run(in.tensors(), out.tensors());
        if (out.numbers() != expected.numbers()) wrong++;
        session.run(large.tensors(), out.tensors());
        if (out.numbers() != expected_large.numbers()) wrong++;
      }
    });
  loaded.reset();  // sessions keep it
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("a session that two threads use at once says so") {
  const Saved saved;
  ModelSession session(std::make_shared<const LoadedModel>(saved.path));
  std::atomic<int> refused{0};
  const auto use = [&] {
    Inputs in(1);
    Results out(1);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (refused == 0 && std::chrono::steady_clock::now() < end) try {
        session.run(in.tensors(), out.tensors());
      } catch (const Error& error) {
        if (has(error.what(), "a ModelSession was used by two threads at once")) refused++;
      }
  };
  std::thread other(use);
  use();
  other.join();
  CHECK(refused > 0);
}

TEST_CASE("a cancelled run ends so, and the next one works") {
  const Saved saved;
  ModelSession session(std::make_shared<const LoadedModel>(saved.path));
  Inputs in(1);
  Results out(1);
  session.cancel();
  CHECK(error_of(ErrorKind::cancelled, [&] { session.run(in.tensors(), out.tensors()); }) ==
        "interrupted");
  session.run(in.tensors(), out.tensors());
}

TEST_CASE("a file for resuming is loaded without its training state") {
  TrainingState state{"{}"};
  state.floats["more"] = std::vector<float>(100000, 1.F);
  const Saved plain, resumable("cpu", state);
  const LoadedModel loaded(resumable.path);
  CHECK(loaded.info().training_state.empty());
  CHECK(loaded.bytes() == LoadedModel(plain.path).bytes());
}

TEST_CASE("a damaged file is refused, wherever the damage lies") {
  const Saved saved;
  std::ifstream stream(saved.path, std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  for (const size_t at : {size_t{3}, size_t{100}, good.size() / 2, good.size() - 1}) {
    CAPTURE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 8);
    std::ofstream(saved.path, std::ios::binary) << bad;
    CHECK(has(error_of(ErrorKind::file, [&] { LoadedModel{saved.path}; }), saved.path));
  }
  std::ofstream(saved.path, std::ios::binary) << good.substr(0, good.size() - 4);
  CHECK(has(error_of(ErrorKind::file, [&] { LoadedModel{saved.path}; }), saved.path));
}
