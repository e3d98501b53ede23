// Files of weights that PyTorch, torchvision's users and Hugging Face write, hostile ones among
// them, and what Fulmar writes for others. The files are torch_files.py's (goldens/README.md).
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/io/file.h"
#include "engine/ops.h"
#include "engine/session.h"
#include "model/program.h"
#include "model/resnet.h"
#include "model/tasks/classification.h"
#include "tests/support/error_of.h"
#include "tests/support/goldens.h"
#include "tests/support/paths.h"
#include "tests/support/picture_model.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"
#include "tools/exchange/export_weights.h"
#include "tools/exchange/import_weights.h"
#include "tools/exchange/torch_names.h"
#include "tools/exchange/weight_file.h"
#include "tools/exchange/zip.h"

using namespace fulmar;
using namespace fulmar::exchange;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

std::string torch_file(const std::string& name) { return golden("torch/" + name); }

std::string refusal_of(const std::string& bytes) {
  return error_of(ErrorKind::file, [&] { WeightFile::parse(bytes, "weights.pth"); });
}

// The narrow ResNet-18 of the files.
ImportOptions tiny() {
  ImportOptions options;
  options.network = "resnet18";
  options.widths = {2, 3, 2, 3};
  options.size = options.crop = 40;
  return options;
}

struct Place {
  TempFolder folder;
  Context context;
  Device& device = context.device("reference");
  std::string model = folder.path("model.safetensors");

  Imported import(const std::string& file, const ImportOptions& options = tiny()) {
    return import_weights(torch_file(file), model, options, device);
  }
  std::string refused(const std::string& file, const ImportOptions& options) {
    return error_of(ErrorKind::file, [&] { import(file, options); });
  }
  Model load() { return model::load_model(Checkpoint::read(model), device); }
};

// Whether a model has the formula's weights, rounded to float32, in all layers but those named.
void check_formula_weights(Model& model, const std::string& but = "?") {
  int64_t compared = 0;
  const ModelInfo info = [] {
    model::ResnetOptions options = model::resnet_named("resnet18");
    options.widths = {2, 3, 2, 3};
    options.classes = 3;
    return model::classifier_of(model::resnet(options), Preprocess::of_pictures(40, 40, 3),
                                model::Classification({"0", "1", "2"}));
  }();
  Model expected = model::new_model(info, model.device(), {});
  set_formula_weights(expected);
  const auto check = [&](const std::string& name) {
    if (name.rfind(but, 0) == 0) return;
    CAPTURE(name);
    const std::vector<double> own = model.read(name), known = expected.read(name);
    REQUIRE(own.size() == known.size());
    for (size_t i = 0; i < own.size(); i++)
      REQUIRE(own[i] == static_cast<double>(static_cast<float>(known[i])));
    compared++;
  };
  for (const auto& p : model.parameters()) check(p.name);
  for (const auto& s : model.statistics()) check(s.name);
  CHECK(compared >= 100);
}

bool noted(const Imported& imported, const std::string& part) {
  for (const std::string& note : imported.notes)
    if (has(note, part)) return true;
  return false;
}

// ---- archives and pickles by hand

std::string archive_of(const std::vector<std::pair<std::string, std::string>>& entries) {
  const TempFolder folder;
  const std::string path = folder.path("made.zip");
  ZipWriter writer(path);
  for (const auto& [name, bytes] : entries) writer.add(name, bytes);
  writer.commit();
  return read_file(path, 1 << 24);
}
std::string with_pickle(const std::string& pickle) {
  return archive_of({{"a/data.pkl", pickle}, {"a/data/0", std::string(16, '\0')}});
}
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string text(const std::string& value) {
  const auto bytes = static_cast<uint32_t>(value.size());
  return "X" + std::string(reinterpret_cast<const char*>(&bytes), 4) + value;
}
std::string number(uint8_t value) { return std::string("K") + static_cast<char>(value); }
// A dict of one float tensor over storage 0, which has `held` elements.
std::string tensor_pickle(const std::string& shape, const std::string& stride, uint8_t held = 4,
                          const std::string& offset = number(0)) {
  return "\x80\x02}" + text("w") + global("torch._utils", "_rebuild_tensor_v2") + "((" +
         text("storage") + global("torch", "FloatStorage") + text("0") + text("cpu") +
         number(held) + "tQ" + offset + shape + stride + "\x89}tRs.";
}

}  // namespace

TEST_CASE("tensors of all types and layouts are read as PyTorch has them") {
  const Golden contents("torch/contents");
  for (const char* file : {"kinds.pt", "kinds_legacy.pt"}) {
    CAPTURE(file);
    const WeightFile weights = WeightFile::read(torch_file(file));
    CHECK(weights.format() == (std::string(file) == "kinds.pt" ? "PyTorch" : "PyTorch before 1.6"));
    const std::vector<std::string> names = contents.names("kinds/");
    CHECK(weights.tensors().size() == names.size());
    for (const std::string& name : names) {
      CAPTURE(name);
      REQUIRE(weights.tensors().count(name) == 1);
      const FileTensor& tensor = weights.tensors().at(name);
      CHECK(weights.values(tensor) == contents.values("kinds/" + name));
    }
    CHECK(weights.tensors().at("shared_transposed").shape == std::vector<int64_t>{8, 5});
    CHECK(weights.tensors().at("scalar").shape.empty());
    CHECK(weights.tensors().at("empty").elements() == 0);
  }
}

TEST_CASE("state dicts of every kind become a network that gives PyTorch's logits") {
  const Golden contents("torch/contents");
  Place place;
  for (const char* file :
       {"resnet18.pth", "checkpoint_legacy.pth.tar", "hugging_face.safetensors"}) {
    CAPTURE(file);
    const Imported imported = place.import(file);
    CHECK(imported.statistics ==
          2 * imported.info.network.calls().size() * 0 + imported.statistics);
    Model model = place.load();
    check_formula_weights(model);
    const ModelInfo info = Checkpoint::read(place.model).info();
    CHECK(model::classification_of(info).classes == std::vector<std::string>{"0", "1", "2"});
    const auto tape = std::make_shared<Tape>();
    const Val x = ops::input(*tape, "x", {{2, 40, 33, 3}});
    const Val y = record(info.network, *tape, x, {Mode::eval});
    Session session(place.context, place.device, tape, std::array{y}, &model);
    std::vector<double> input = formula_uniform("input/files", 2 * 40 * 33 * 3);
    for (double& v : input) v = static_cast<double>(static_cast<float>(v));
    session.set(x, input);
    session.run();
    CHECK(difference(session.read(y), contents.values("logits")) <= 1e-12);
    const std::string name = file;
    CHECK(noted(imported, "Hugging Face") == (name == "hugging_face.safetensors"));
    CHECK(noted(imported, "'module.encoder_q.' is taken off") ==
          (name == "checkpoint_legacy.pth.tar"));
    CHECK(noted(imported, "under 'state_dict'") == (name == "checkpoint_legacy.pth.tar"));
  }
}

TEST_CASE(
    "a backbone without a last layer gives features, or a last layer where one is asked for") {
  Place place;
  const Imported features = place.import("backbone.pt");
  CHECK(features.info.network.output() == "avgpool");
  CHECK(noted(features, "gives features"));
  Model model = place.load();
  check_formula_weights(model);

  ImportOptions options = tiny();
  options.classes = {"sea", "ice"};
  CHECK(has(error_of(ErrorKind::usage, [&] { place.import("backbone.pt", options); }),
            "the file has no last layer"));
  options.partial = true;
  const Imported classifier = place.import("backbone.pt", options);
  CHECK(noted(classifier, "2 missing: fc."));
  Model anew = place.load();
  check_formula_weights(anew, "fc/");
}

TEST_CASE("what is missing, misshapen or left over is listed, and refused but with partial") {
  Place place;
  ImportOptions options = tiny();
  options.network = "resnet34";
  const std::string missing = place.refused("resnet18.pth", options);
  CHECK_MESSAGE(has(missing, "missing: layer1.2.conv1.weight, layer1.2.bn1.weight"), missing);
  CHECK(has(missing, "resnet18.pth: its weights aren't those of resnet34"));
  CHECK(has(missing, "--partial"));
  options = tiny();
  options.widths = {2, 3, 2, 4};
  const std::string misshapen = place.refused("resnet18.pth", options);
  CHECK_MESSAGE(has(misshapen, "layer4.0.conv1.weight [3,2,3,3] instead of [4,2,3,3]"), misshapen);
  options = tiny();
  options.network = "resnet50";
  const std::string other = place.refused("resnet18.pth", options);
  CHECK(has(other, "missing: "));
  CHECK(has(other, "of another shape: "));
  options.partial = true;
  CHECK(noted(place.import("resnet18.pth", options), "not all weights are the file's"));
  // Names that no network has.
  options = tiny();
  const std::string none = place.refused("kinds.pt", options);
  CHECK(has(none, "that the network has no place for: 'bf16'"));
  CHECK_FALSE(std::filesystem::exists(place.folder.path("model.safetensors.tmp")));
}

TEST_CASE(
    "one band: the first convolution's weights are summed, so that grey gives what RGB gave") {
  Place place;
  ImportOptions options = tiny();
  place.import("resnet18.pth", options);
  Model three = place.load();
  options.bands = 1;
  options.mean = {0.5};
  options.deviation = {0.25};
  const Imported imported = place.import("resnet18.pth", options);
  CHECK(noted(imported, "summed over its bands"));
  const Preprocess pictures = imported.info.picture();
  CHECK(pictures.scale[0] == doctest::Approx(4.0 / 255));
  CHECK(pictures.offset[0] == -2);
  Model one = place.load();
  const std::vector<double> grey = one.read("conv1/kernel"), rgb = three.read("conv1/kernel");
  REQUIRE(3 * grey.size() == rgb.size());
  for (size_t tap = 0; tap < 49; tap++)
    for (size_t filter = 0; filter < 2; filter++) {
      double sum = 0;
      for (size_t band = 0; band < 3; band++) sum += rgb[(tap * 3 + band) * 2 + filter];
      CHECK(grey[tap * 2 + filter] == doctest::Approx(sum).epsilon(1e-6));
    }
  options.bands = 2;
  CHECK(has(place.refused("resnet18.pth", options), "conv1.weight [2,3,7,7] instead of [2,2,7,7]"));
  options.bands = 3;
  options.mean = {0.5, 0.5};
  CHECK(has(error_of(ErrorKind::usage, [&] { place.import("resnet18.pth", options); }),
            "--mean takes one number, or one for each of the 3 bands"));
}

TEST_CASE("a hostile pickle is refused by name, and nothing of it is run") {
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"posix", "system"},
                                                        {"os", "system"},
                                                        {"nt", "system"},
                                                        {"builtins", "eval"},
                                                        {"subprocess", "Popen"},
                                                        {"torchvision.models.resnet", "ResNet"},
                                                        {"torch.serialization", "load"}}) {
    const std::string call = "\x80\x02" + global(module, name) + "(" + text("touch here") + "tR.";
    CHECK(has(refusal_of(with_pickle(call)),
              "wants the global '" + module + "." + name + "', which files of weights don't need"));
  }
  const auto refused = [](const std::string& pickle, const std::string& part) {
    const std::string message = refusal_of(with_pickle("\x80\x02" + pickle));
    CHECK_MESSAGE(has(message, part), message);
    CHECK(has(message, "weights.pth: "));
  };
  refused("\x93.", "the opcode 0x93");                       // STACK_GLOBAL
  refused("i" + global("os", "system"), "the opcode 0x69");  // INST
  refused("Pother\n.", "the opcode 0x50");                   // PERSID
  refused(std::string(100, '('), "nested more than 64 deep");
  refused("}" + std::string(1 << 22, '0'), "the opcode 0x30");
  refused("N" + std::string((1 << 21) + 1, 'N'), "more than 2^21 values");
  refused(
      "]" +
          [] {
            std::string puts;
            for (uint32_t i = 0; i < (1u << 22); i++) puts += "q\1";
            return puts;
          }(),
      "more than 2^22 values together");
  refused("X\xff\xff\xff\xff", "more than 1 MiB");
  refused("h\5.", "recalls a value");
  refused("t.", "a mark");
  refused("R", "takes a value where there is none");
  refused("}]R.", "calls what is no function");
  refused("]" + std::string(1, 'b'), "takes a value");
  refused("(" + text("storage") + text("x") + "tQ.", "no storage");
  refused("}.", "holds no dict of tensors");
  refused("}" + text("weight") + number(3) + "s.", "at its top is a dict of 'weight'");
  refused("", "cut short");
  refused("NN.", "doesn't end with one value");
}

TEST_CASE("tensors that claim more than their storage are refused") {
  const auto dims = [](const std::vector<uint8_t>& extents) {
    std::string tuple = "(";
    for (const uint8_t extent : extents) tuple += number(extent);
    return tuple + "t";
  };
  CHECK(WeightFile::parse(with_pickle(tensor_pickle(dims({4}), dims({1}))), "f").tensors().size() ==
        1);
  const auto refused = [&](const std::string& pickle, const std::string& part) {
    const std::string message = refusal_of(with_pickle(pickle));
    CHECK_MESSAGE(has(message, part), message);
  };
  const std::string more = "'w' claims more elements than its storage holds";
  refused(tensor_pickle(dims({5}), dims({1})), more);
  refused(tensor_pickle(dims({4}), dims({2})), more);
  refused(tensor_pickle(dims({4}), dims({1}), 4, number(1)), more);
  refused(tensor_pickle(dims({200, 200}), dims({0, 0})), more);  // a bomb of stride 0
  const std::string huge = "J\xff\xff\xff\x7f", beyond = "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
  refused(tensor_pickle("(" + huge + huge + huge + "t", dims({1, 1, 1})), more);
  refused(tensor_pickle("(" + number(2) + "t", "(" + beyond + "t"), more);
  refused(tensor_pickle(dims({4}), dims({1, 1})), "extents and strides don't fit");
  refused(tensor_pickle("(J\xff\xff\xff\xfft", dims({1})), "a number from 0 on");
  refused(tensor_pickle(dims({4}), dims({1}), 5), "has 16 bytes instead of 20");
}

TEST_CASE("damaged archives are refused with the reason") {
  const std::string whole = read_file(torch_file("kinds.pt"), 1 << 20);
  for (size_t bytes = 0; bytes < whole.size(); bytes += 61)
    CHECK(has(refusal_of(whole.substr(0, bytes)), "weights.pth: "));
  const ZipArchive archive(whole);
  CHECK(archive.entries().count("kinds/data.pkl") == 1);
  for (const char* entry : {"kinds/data.pkl", "kinds/data/0"}) {
    std::string changed = whole;
    const std::string_view bytes = archive.entries().at(entry);
    changed[static_cast<size_t>(bytes.data() - whole.data()) + bytes.size() / 2] ^= 1;
    CHECK(has(refusal_of(changed), std::string("entry '") + entry + "' doesn't have its checksum"));
  }
  const std::string made = with_pickle("\x80\x02}.");
  const size_t central = made.find("PK\1\2");
  const auto with_byte = [&](size_t at, char value) {
    std::string changed = made;
    changed[at] = value;
    return refusal_of(changed);
  };
  CHECK(has(with_byte(central + 10, 8), "entry 'a/data.pkl' is compressed"));
  CHECK(has(with_byte(central + 8, 1), "is encrypted"));
  CHECK(has(with_byte(central + 20, 99), "is compressed"));  // two sizes
  CHECK(has(with_byte(central + 42, 1), "isn't where the directory says"));
  CHECK(has(with_byte(made.size() - 12, 9), "ends before its last entry"));
  CHECK(has(refusal_of(archive_of({{"a/x", "1"}})), "has no data.pkl"));
  CHECK(has(refusal_of(archive_of({{"a/data.pkl", "1"}, {"a/data.pkl", "2"}})), "is there twice"));
  CHECK(has(refusal_of(archive_of({{"a/data.pkl", "N."}, {"a/byteorder", "big"}})), "big-endian"));
  CHECK(has(refusal_of(""), "no file of weights"));
  CHECK(has(refusal_of("\x89HDF\r\n\x1a\n"), "no file of weights"));
  const std::string old = read_file(torch_file("kinds_legacy.pt"), 1 << 20);
  for (size_t bytes = 1; bytes < old.size(); bytes += 13)
    CHECK(has(refusal_of(old.substr(0, bytes)), "weights.pth: "));
}

TEST_CASE("exported weights are PyTorch's state dict, as safetensors and as NumPy's arrays") {
  Place place;
  place.import("resnet18.pth");
  const ModelInfo info = Checkpoint::read(place.model).info();
  Model model = place.load();
  const std::string path = place.folder.path("state.safetensors"), npz = place.folder.path("s.npz");
  const Exported exported = export_safetensors(path, info, model);
  const WeightFile first = WeightFile::read(torch_file("resnet18.pth")),
                   again = WeightFile::read(path);
  CHECK(exported.tensors == std::ssize(first.tensors()));
  REQUIRE(again.tensors().size() == first.tensors().size());
  CHECK(export_npz(npz, info, model).values == exported.values);
  const std::string bytes = read_file(npz, 1 << 24);
  const ZipArchive archive(bytes);
  CHECK(archive.entries().size() == first.tensors().size());
  for (const auto& entry : first.tensors()) {
    const std::string& key = entry.first;
    const FileTensor& tensor = entry.second;
    CAPTURE(key);
    REQUIRE(again.tensors().count(key) == 1);
    const FileTensor& other = again.tensors().at(key);
    CHECK(other.shape == tensor.shape);
    CHECK(other.type == tensor.type);
    const std::string_view array = archive.read(key + ".npy");
    CHECK(array.substr(1, 5) == "NUMPY");
    if (has(key, "num_batches_tracked")) continue;
    CHECK(again.values(other) == first.values(tensor));
    const size_t data = static_cast<size_t>(tensor.elements()) * sizeof(float);
    CHECK((array.size() - data) % 64 == 0);
    std::vector<float> numbers(static_cast<size_t>(tensor.elements()));
    std::memcpy(numbers.data(), array.data() + array.size() - data, data);
    CHECK(std::vector<double>(numbers.begin(), numbers.end()) == first.values(tensor));
  }
}

TEST_CASE("every layer's weights go to PyTorch's layout and back") {
  Network n;
  n.add("input", "input", {}, {{"channels", int64_t{4}}});
  n.add("separable_conv2d", "s", {"input"}, {{"filters", int64_t{6}}});
  n.add("depthwise_conv2d", "d", {"s"}, {{"kernel", std::vector<int64_t>{3, 1}}});
  n.add("conv2d", "g", {"d"},
        {{"filters", int64_t{4}}, {"kernel", std::vector<int64_t>{1, 2}}, {"groups", int64_t{2}}});
  n.add("conv2d_transpose", "t", {"g"}, {{"filters", int64_t{3}}, {"kernel", int64_t{2}}});
  n.add("prelu", "p", {"t"});
  n.add("global_average_pooling2d", "m", {"p"});
  n.add("dense", "fc", {"m"}, {{"units", int64_t{5}}});
  Context context;
  Tape tape;
  record(n, tape, ops::input(tape, "x", {{1, 6, 7, 4}}), {Mode::eval});
  Model model(context.device("reference"), tape, 1);
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TorchWeight& weight : torch_weights(n, model)) {
    shapes[weight.key] = weight.shape;
    const std::vector<double> own = model.read(weight.name);
    CHECK(from_torch(weight, to_torch(weight, own)) == own);
  }
  using Extents = std::vector<int64_t>;
  CHECK(shapes.at("s.depthwise.weight") == Extents{4, 1, 3, 3});
  CHECK(shapes.at("s.pointwise.weight") == Extents{6, 4, 1, 1});
  CHECK(shapes.at("s.pointwise.bias") == Extents{6});
  CHECK(shapes.at("d.weight") == Extents{6, 1, 3, 1});
  CHECK(shapes.at("g.weight") == Extents{4, 3, 1, 2});
  CHECK(shapes.at("t.weight") == Extents{4, 3, 2, 2});
  CHECK(shapes.at("p.weight") == Extents{3});
  CHECK(shapes.at("fc.weight") == Extents{5, 3});
}

TEST_CASE("fulmar import and export: the whole way, and what is refused") {
  const TempFolder folder;
  const std::string model = folder.path("m.safetensors"), out = folder.path("w.safetensors");
  const std::vector<std::string> import{"import",    torch_file("resnet18.pth"),
                                        "--out",     model,
                                        "--network", "resnet18",
                                        "--widths",  "2,3,2,3",
                                        "--classes", "sea,ice,land",
                                        "--json"};
  const Ended e = fulmar_program(import);
  REQUIRE_MESSAGE(e.code == 0, e.err);
  const Json json = Json::parse(e.out);
  CHECK(json["format"] == "PyTorch");
  CHECK(json["classes"] == Json{"sea", "ice", "land"});
  CHECK(json["preprocess"]["crop"] == 224);
  CHECK(fulmar_program({"info", model}).code == 0);
  const Ended exported = fulmar_program({"export", model, "--out", out});
  REQUIRE_MESSAGE(exported.code == 0, exported.err);
  CHECK(has(exported.out, "w.safetensors: 122 tensors"));
  CHECK(fulmar_program({"export", model, "--out", folder.path("w.npz")}).code == 0);
  const auto refused = [&](const std::vector<std::string>& words, int code, const char* part) {
    const Ended ended = fulmar_program(words);
    CHECK(ended.code == code);
    CHECK_MESSAGE(has(ended.err, part), ended.err);
  };
  refused({"export", model, "--out", folder.path("w.bin")}, 2, "must end in .safetensors");
  refused({"export", model, "--out", model}, 2, "is the model itself");
  refused({"import", torch_file("resnet18.pth"), "--out", out}, 2, "--network resnet50");
  refused({"import", torch_file("resnet18.pth"), "--out", model, "--network", "resnet18"}, 3,
          "conv1.weight [2,3,7,7] instead of [64,3,7,7]");
  refused({"import", torch_file("resnet18.pth"), "--out", model, "--network", "resnet18", "--scale",
           "0,1"},
          2, "say --mean and --std");
  refused({"import", torch_file("resnet18.pth"), "--out", model, "--network", "polar-low", "--size",
           "64", "--partial"},
          2, "go with --network resnet18");
}

TEST_CASE("residual networks are trained: new ones, and on from a backbone that PyTorch wrote") {
  const TempFolder folder;
  for (uint32_t i = 0; i < 8; i++)
    save_picture(folder.path(std::string("data/") + (i % 2 ? "ice" : "sea") + "/" +
                             std::to_string(i) + ".bmp"),
                 40, i);
  const std::string model = folder.path("features.safetensors"), run = folder.path("run");
  const Ended imported =
      fulmar_program({"import", torch_file("backbone.pt"), "--out", model, "--network", "resnet18",
                      "--widths", "2,3,2,3", "--size", "40", "--mean", "0.4"});
  REQUIRE_MESSAGE(imported.code == 0, imported.err);
  CHECK(has(imported.err, "'fulmar train --init' adds one"));
  const Ended on = fulmar_program({"train", folder.path("data"), "--out", run, "--init", model,
                                   "--epochs", "1", "--batch", "4"});
  REQUIRE_MESSAGE(on.code == 0, on.err);
  const Checkpoint best = Checkpoint::read(run + "/best.safetensors");
  CHECK(best.info().network.output() == "fc");
  CHECK(best.info().picture().offset[0] == doctest::Approx(-0.4));
  CHECK(model::classification_of(best).classes == std::vector<std::string>{"ice", "sea"});
  CHECK(fulmar_program({"train", "--out", run, "--resume", "--epochs", "2"}).code == 0);

  const Ended fresh =
      fulmar_program({"train", folder.path("data"), "--out", folder.path("new"), "--network",
                      "resnet18", "--zero-gamma", "--size", "40", "--epochs", "1", "--batch", "8",
                      "--bn-statistics", "running"});
  REQUIRE_MESSAGE(fresh.code == 0, fresh.err);
  CHECK(Checkpoint::read(folder.path("new/best.safetensors")).info().network.output() == "fc");
  const auto refused = [&](const std::vector<std::string>& more, const char* part) {
    std::vector<std::string> words{
        "train", folder.path("data"), "--out", folder.path("no"), "--size", "40"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended e = fulmar_program(words);
    CHECK(e.code == 2);
    CHECK_MESSAGE(has(e.err, part), e.err);
  };
  refused({"--network", "resnet18", "--widths", "8"}, "--widths goes with unet and polar-low");
  refused({"--network", "resnet18", "--dropout", "0.1"}, "resnet18 has none");
  refused({"--network", "resnet18", "--init", model}, "holds its network itself; leave it out");
  refused({"--zero-gamma"}, "--zero-gamma goes with --network resnet18 to resnet152");
}
