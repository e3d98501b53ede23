#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "include/fulmar/fulmar.h"
#include "tests/support/error_of.h"
#include "tests/support/picture_model.h"
#include "tests/support/temp_folder.h"

using fulmar::test::has;
using fulmar::test::save_model;
using fulmar::test::TempFolder;

namespace {

struct Loaded {
  TempFolder folder;
  std::string path = folder.path("model.safetensors");
  fulmar_model* model = nullptr;
  fulmar_session* session = nullptr;

  Loaded() {
    save_model(path, {"neg", "pos"});
    REQUIRE(fulmar_model_load(path.c_str(), nullptr, &model) == FULMAR_OK);
    REQUIRE(fulmar_session_create(model, 1, &session) == FULMAR_OK);
  }
  ~Loaded() {
    fulmar_session_free(session);
    fulmar_model_free(model);
  }
};

std::vector<uint8_t> pixels(int64_t count) {
  std::vector<uint8_t> all(static_cast<size_t>(count));
  for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<uint8_t>(i * i % 251);
  return all;
}

}  // namespace

TEST_CASE("C: a model is described, and gives probabilities into the caller's memory") {
  Loaded l;
  CHECK(has(fulmar_version(), "."));
  REQUIRE(fulmar_model_input_count(l.model) == 1);
  REQUIRE(fulmar_model_output_count(l.model) == 2);
  const char* name = nullptr;
  fulmar_tensor input, output;
  REQUIRE(fulmar_model_input(l.model, 0, &name, &input) == FULMAR_OK);
  CHECK(std::string(name) == "input");
  CHECK(input.type == FULMAR_U8);
  CHECK(input.rank == 4);
  CHECK(input.extents[0] == -1);
  CHECK(input.extents[3] == 3);
  REQUIRE(fulmar_model_output(l.model, 0, &name, &output) == FULMAR_OK);
  CHECK(std::string(name) == "probabilities");
  CHECK(output.type == FULMAR_F32);
  CHECK(output.extents[3] == 2);
  CHECK(fulmar_model_output(l.model, 1, nullptr, &output) == FULMAR_OK);
  CHECK(std::string(fulmar_model_metadata(l.model, "classes")) == R"(["neg","pos"])");
  CHECK(has(fulmar_model_metadata(l.model, "preprocess"), "\"crop\":16"));
  CHECK(fulmar_model_metadata(l.model, "absent") == nullptr);

  auto picture = pixels(2 * 20 * 16 * 3);
  const fulmar_tensor in{picture.data(), FULMAR_U8, 4, {2, 20, 16, 3}, {}};
  std::vector<float> p(4);
  const fulmar_tensor out{p.data(), FULMAR_F32, 2, {2, 2}, {}};
  REQUIRE(fulmar_session_run(l.session, &in, 1, &out, 1) == FULMAR_OK);
  CHECK(p[0] + p[1] == doctest::Approx(1));
  CHECK(p[2] + p[3] == doctest::Approx(1));
  std::vector<double> columns(4);
  const fulmar_tensor transposed{columns.data(), FULMAR_F64, 2, {2, 2}, {1, 2}};
  REQUIRE(fulmar_session_run(l.session, &in, 1, &transposed, 1) == FULMAR_OK);
  CHECK(columns == std::vector<double>{p[0], p[2], p[1], p[3]});
}

TEST_CASE("C: what goes wrong has the program's exit code and a sentence") {
  Loaded l;
  fulmar_model* model = l.model;
  CHECK(fulmar_model_load("absent.safetensors", "cpu", &model) == FULMAR_FILE);
  CHECK(model == nullptr);
  CHECK(has(fulmar_last_error(), "cannot read 'absent.safetensors'"));
  CHECK(fulmar_model_load(l.path.c_str(), "abacus", &model) == FULMAR_DEVICE);
  CHECK(has(fulmar_last_error(), "there is no device 'abacus'"));
  CHECK(fulmar_model_load(nullptr, nullptr, &model) == FULMAR_USAGE);
  CHECK(std::string(fulmar_last_error()) == "path is a null pointer");
  CHECK(fulmar_model_load(l.path.c_str(), nullptr, nullptr) == FULMAR_USAGE);
  fulmar_session* session = l.session;
  CHECK(fulmar_session_create(nullptr, 1, &session) == FULMAR_USAGE);
  CHECK(session == nullptr);
  CHECK(fulmar_session_create(l.model, -1, &session) == FULMAR_USAGE);
  fulmar_tensor tensor;
  CHECK(fulmar_model_input(l.model, 1, nullptr, &tensor) == FULMAR_USAGE);
  CHECK(std::string(fulmar_last_error()) == "the model has no input 1: there are 1");
  CHECK(fulmar_model_input(nullptr, 0, nullptr, &tensor) == FULMAR_USAGE);
  CHECK(fulmar_model_input_count(nullptr) == 0);
  fulmar_model_free(nullptr);
  fulmar_session_free(nullptr);

  auto picture = pixels(16 * 16 * 3);
  float p[2] = {7, 7};
  const fulmar_tensor good{picture.data(), FULMAR_U8, 4, {1, 16, 16, 3}, {}};
  const fulmar_tensor out{p, FULMAR_F32, 2, {1, 2}, {}};
  fulmar_tensor bad = good;
  bad.extents[3] = 1;
  CHECK(fulmar_session_run(l.session, &bad, 1, &out, 1) == FULMAR_USAGE);
  CHECK(has(fulmar_last_error(), "input 'input' of " + l.path + ": [1,16,16,1] u8 given"));
  bad = good;
  bad.type = 17;
  CHECK(fulmar_session_run(l.session, &bad, 1, &out, 1) == FULMAR_USAGE);
  CHECK(std::string(fulmar_last_error()) == "inputs[0]: there is no type 17");
  bad = good;
  bad.rank = 5;
  CHECK(fulmar_session_run(l.session, &bad, 1, &out, 1) == FULMAR_USAGE);
  bad = good;
  for (int64_t& extent : bad.extents) extent = INT64_MAX;
  CHECK(fulmar_session_run(l.session, &bad, 1, &out, 1) == FULMAR_USAGE);
  CHECK(fulmar_session_run(l.session, nullptr, 1, &out, 1) == FULMAR_USAGE);
  CHECK(fulmar_session_run(nullptr, &good, 1, &out, 1) == FULMAR_USAGE);
  CHECK(p[0] == 7);

  fulmar_session_cancel(l.session);
  CHECK(fulmar_session_run(l.session, &good, 1, &out, 1) == FULMAR_CANCELLED);
  CHECK(fulmar_session_run(l.session, &good, 1, &out, 1) == FULMAR_OK);
}

TEST_CASE("C: each thread has its own last error, and its own session of one model") {
  Loaded l;
  auto picture = pixels(16 * 16 * 3);
  const fulmar_tensor in{picture.data(), FULMAR_U8, 4, {1, 16, 16, 3}, {}};
  float expected[2];
  const fulmar_tensor to_expected{expected, FULMAR_F32, 2, {1, 2}, {}};
  REQUIRE(fulmar_session_run(l.session, &in, 1, &to_expected, 1) == FULMAR_OK);
  CHECK(fulmar_model_load("mine", nullptr, nullptr) == FULMAR_USAGE);
  const std::string mine = fulmar_last_error();

  std::vector<std::thread> threads;
  std::vector<std::string> said(3);
  std::vector<std::vector<float>> got(3, std::vector<float>(2));
  for (size_t t = 0; t < 3; t++)
    threads.emplace_back([&, t] {
      fulmar_tensor tensor;
      fulmar_session* session = nullptr;
      if (*fulmar_last_error() || fulmar_session_create(l.model, 1, &session) != FULMAR_OK) return;
      const fulmar_tensor out{got[t].data(), FULMAR_F32, 2, {1, 2}, {}};
      for (int time = 0; time < 8; time++) fulmar_session_run(session, &in, 1, &out, 1);
      fulmar_model_input(l.model, 10 + t, nullptr, &tensor);
      said[t] = fulmar_last_error();
      fulmar_session_free(session);
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < 3; t++) {
    CHECK(said[t] == "the model has no input " + std::to_string(10 + t) + ": there are 1");
    CHECK(got[t] == std::vector<float>{expected[0], expected[1]});
  }
  CHECK(fulmar_last_error() == mine);
}

TEST_CASE("C: sessions outlive their model") {
  Loaded l;
  fulmar_model_free(l.model);
  l.model = nullptr;
  auto picture = pixels(16 * 16 * 3);
  const fulmar_tensor in{picture.data(), FULMAR_U8, 4, {1, 16, 16, 3}, {}};
  float p[2];
  const fulmar_tensor out{p, FULMAR_F32, 2, {1, 2}, {}};
  CHECK(fulmar_session_run(l.session, &in, 1, &out, 1) == FULMAR_OK);
}
