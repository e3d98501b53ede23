// Keras files through the program: damaged, hostile and unsupported ones, and the whole way.
#include <doctest/doctest.h>

#define H5_USE_110_API
#include <hdf5.h>
#include <zip.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/io/file.h"
#include "tests/support/keras_import.h"
#include "tests/support/picture_model.h"
#include "tests/support/refusal.h"
#include "tests/support/slow_build.h"
#include "tools/keras/hdf5_messages.h"
#include "tools/keras/keras_file.h"

using namespace fulmar;
using namespace fulmar::test;
using Json = nlohmann::ordered_json;

namespace {

using Words = std::vector<std::string>;

std::string keras_file(const std::string& name) { return golden("keras/" + name); }

// A folder with a model file that must stay as it is.
struct Place {
  TempFolder folder;
  std::string model = folder.path("model.safetensors"), file = folder.path("file.h5");

  Place() { write_file(model, "good"); }
  void refused(const Words& said, const HowToRun& how = {}) const {
    check_refused({{"import", file, "--out", model}, 3, said}, folder.path(), how);
  }
};

void put_text(hid_t object, const char* name, const std::string& text) {
  const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, text.size());
  const hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text.data());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

hid_t array(hid_t group, const char* name, std::vector<hsize_t> shape, hid_t how = H5P_DEFAULT,
            hid_t type = H5T_IEEE_F32LE) {
  const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
  const hid_t set = H5Dcreate2(group, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
  H5Sclose(space);
  return set;
}

void make(const std::string& path, const std::function<void(hid_t)>& fill) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  REQUIRE(file >= 0);
  fill(file);
  H5Fclose(file);
}

void make_archive(const std::string& path,
                  const std::vector<std::pair<std::string, std::string>>& files) {
  zip_t* zip = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  REQUIRE(zip);
  for (const auto& [name, text] : files)
    REQUIRE(zip_file_add(zip, name.c_str(), zip_source_buffer(zip, text.data(), text.size(), 0),
                         0) >= 0);
  REQUIRE(zip_close(zip) == 0);
}

}  // namespace

TEST_CASE("keras files: what is no Keras file is refused, and says so") {
  Place place;
  place.refused({"file.h5: no such file"});
  write_file(place.file, "");
  place.refused({"file.h5: it is not an HDF5 file, or it is damaged"});
  write_file(place.file, "PK\3\4 and nothing else");
  place.refused({"file.h5: the archive can't be read"});
  make(place.file, [](hid_t) {});
  place.refused({"file.h5: it holds weights alone", "--network polar-low", "model.save"});
  make(place.file, [](hid_t file) { put_text(file, "model_config", "{ none"); });
  place.refused({"file.h5: its configuration is not JSON"});
  std::filesystem::remove(place.file);
  std::filesystem::create_directory(place.file);
  place.refused({"file.h5: it is no file"});
}

TEST_CASE("keras files: what reaches outside the file, or claims too much, is refused") {
  Place place;
  const auto refused = [&](const Words& said, const std::function<void(hid_t)>& fill) {
    make(place.file, fill);
    place.refused(said);
  };
  refused({"/a: a link to another place"},
          [](hid_t f) { H5Lcreate_soft("/a", f, "a", H5P_DEFAULT, H5P_DEFAULT); });
  refused({"/a: a link to another place"},
          [](hid_t f) { H5Lcreate_external("other.h5", "/", f, "a", H5P_DEFAULT, H5P_DEFAULT); });
  refused({"groups more than 64 deep"}, [](hid_t f) {
    std::string path;
    for (int i = 0; i < 80; i++) {
      path += "/g";
      H5Gclose(H5Gcreate2(f, path.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    }
  });
  refused({"groups more than 64 deep"}, [](hid_t f) {
    const hid_t group = H5Gcreate2(f, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_hard(f, "/", group, "up", H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(group);
  });
  refused({"/a claims more elements than are stored"}, [](hid_t f) {
    H5Dclose(array(f, "a", {1 << 20, 1 << 20}));
  });
  refused({"/a: its elements are no numbers"},
          [](hid_t f) { H5Dclose(array(f, "a", {2}, H5P_DEFAULT, H5T_C_S1)); });
  refused({"/a: its elements lie in other files"}, [](hid_t f) {
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(how, "/etc/passwd", 0, 40);
    H5Dclose(array(f, "a", {10}, how));
    H5Pclose(how);
  });
  refused({"/a: its elements lie in other files"}, [](hid_t f) {
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t ten = 10;
    const hid_t space = H5Screate_simple(1, &ten, nullptr);
    H5Pset_virtual(how, space, "other.h5", "/b", space);
    H5Dclose(array(f, "a", {10}, how));
    H5Sclose(space);
    H5Pclose(how);
  });
  refused({"/a: compressed by filter 6 ('scaleoffset')"}, [](hid_t f) {
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk = 10;
    H5Pset_chunk(how, 1, &chunk);
    H5Pset_scaleoffset(how, H5Z_SO_FLOAT_DSCALE, 2);
    const hid_t set = array(f, "a", {10}, how);
    const std::vector<float> values(10, 1);
    H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(set);
    H5Pclose(how);
  });
  // An array of 16 GB that deflate made small.
  refused({"/a: more than is read of arrays"}, [](hid_t f) {
    const hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    const hsize_t chunk = 1 << 26;
    H5Pset_chunk(how, 1, &chunk);
    H5Pset_deflate(how, 9);
    const hid_t set = array(f, "a", {hsize_t{1} << 32}, how, H5T_STD_I8LE);
    const std::vector<int8_t> zeros(1 << 26);
    for (hsize_t i = 0; i < 64; i++) {
      if (i > 0) {  // the same compressed bytes again
        hsize_t from = 0, at = i << 26;
        hsize_t bytes = 0;
        H5Dget_chunk_storage_size(set, &from, &bytes);
        std::vector<char> packed(bytes);
        uint32_t mask = 0;
        H5Dread_chunk(set, H5P_DEFAULT, &from, &mask, packed.data());
        H5Dwrite_chunk(set, H5P_DEFAULT, 0, &at, bytes, packed.data());
        continue;
      }
      const hid_t memory = H5Screate_simple(1, &chunk, nullptr), space = H5Dget_space(set);
      const hsize_t start = 0;
      H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, nullptr, &chunk, nullptr);
      H5Dwrite(set, H5T_STD_I8LE, memory, space, H5P_DEFAULT, zeros.data());
      H5Sclose(memory);
      H5Sclose(space);
    }
    H5Dclose(set);
    H5Pclose(how);
  });
}

TEST_CASE("keras files: archives that are damaged, not whole or bombs are refused") {
  Place place;
  const std::string weights = "\x89HDF\r\n\x1a\n, and no more";
  make_archive(place.file, {{"config.json", "{}"}, {"metadata.json", "{}"}});
  place.refused({"'model.weights.h5' of the archive is missing"});
  make_archive(place.file, {{"config.json", "{}"}, {"../metadata.json", "{}"}});
  place.refused({"'metadata.json' of the archive is missing"});
  make_archive(place.file,
               {{"config.json", "{}"}, {"metadata.json", "{}"}, {"model.weights.h5", weights}});
  place.refused({"its model.weights.h5 is not an HDF5 file, or it is damaged"});
  std::string bomb;
  bomb.resize(100'000'000, ' ');
  make_archive(place.file,
               {{"config.json", bomb}, {"metadata.json", "{}"}, {"model.weights.h5", weights}});
  place.refused({"'config.json' of the archive claims to be larger than is read"});
  // A size that its bytes can't have, and a checksum that isn't theirs.
  std::string good = read_file(keras_file("classifier_3.keras"), 1 << 20);
  const size_t central = good.find("PK\1\2");
  REQUIRE(central != std::string::npos);
  std::string huge = good;
  huge.replace(central + 24, 4, "\xff\xff\xff\x7f");
  write_file(place.file, huge);
  place.refused({"'metadata.json' of the archive"});
  const size_t text = good.find("keras_version");
  good[text] = 'K';
  write_file(place.file, good);
  place.refused({"'metadata.json' of the archive is damaged"});
}

TEST_CASE("keras files: cut short or with bytes turned, they end with an error or a model") {
  Place place;
  const std::string out = place.folder.path("out.safetensors");
  for (const char* name : {"polar_low_2_15.h5", "classifier_3.keras"}) {
    const std::string whole = read_file(keras_file(name), 1 << 20);
    for (uint64_t i = 0; i < (sanitized ? 10 : 40); i++) {
      CAPTURE(name);
      CAPTURE(i);
      std::string damaged = whole;
      uint64_t random = (i + 1) * 0x9e3779b97f4a7c15;
      for (uint64_t k = 0; k <= i % 4; k++) {
        random = random * 6364136223846793005 + 1442695040888963407;
        const size_t at = (random >> 16) % (i % 2 == 0 ? whole.size() : 4096);
        damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random >> 60) % 8));
      }
      if (i % 8 == 7) damaged.resize((random >> 16) % whole.size());
      write_file(place.file, damaged);
      const Ended e = fulmar_program({"import", place.file, "--out", out});
      CAPTURE(e.err);
      CHECK((e.code == 0 || e.code == 3));
      CHECK(std::filesystem::exists(out) == (e.code == 0));
      check_clean(e);
      std::filesystem::remove(out);
    }
  }
}

TEST_CASE("keras files: a reader that is missing, crashes or lies is an error about the file") {
  Place place;
  std::filesystem::copy_file(keras_file("classifier_2_15.h5"), place.file);
  const auto reader = [&](const std::string& path) {
    HowToRun how;
    how.environment = {"FULMAR_HDF5_PROGRAM=" + path};
    return how;
  };
  place.refused({"file.h5: ", "which FULMAR_HDF5_PROGRAM names, is not there"},
                reader(place.folder.path("absent")));
  const std::string script = place.folder.path("reader");
  const auto says = [&](const std::string& lines, const Words& said) {
    write_file(script, "#!/bin/sh\n" + lines + "\n");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    place.refused(said, reader(script));
  };
  says("kill -SEGV $$", {"file.h5: it is damaged: the HDF5 library was ended by signal 11"});
  write_file(script, "#!/bin/sh\nkill -INT $$\n");
  check_refused({{"import", place.file, "--out", place.model}, 130, {"interrupted"}},
                place.folder.path(), reader(script));
  says("exit 1", {"file.h5: it is damaged: the HDF5 library gave up"});
  says("printf 'Q'", {"file.h5: a message of an unknown kind"});
  says("printf 'ZZ'", {"file.h5: bytes behind the last message"});
  says("printf 'E\\004\\000\\000\\000text'", {"file.h5: text"});
  says("printf 'F\\377\\377\\377\\377'", {"file.h5: a text of impossible length"});
}

TEST_CASE("keras files: messages in pieces are the same, hostile ones are refused") {
  using keras::Message;
  std::string bytes;
  const auto put = [&](auto number) {
    bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  const auto text = [&](const std::string& t) { put(static_cast<uint32_t>(t.size())), bytes += t; };
  put(Message::text_attribute), text("/"), text("names"), put(uint32_t{2}), text("a"), text("bc");
  put(Message::array), text("/w"), put(uint8_t{2}), put(int64_t{1}), put(int64_t{2});
  put(1.5f), put(-2.5f);
  const size_t behind_array = bytes.size();
  put(Message::end);
  for (const size_t piece : {size_t{1}, size_t{7}, bytes.size()}) {
    keras::KerasFile file;
    keras::MessageReader reader(file);
    std::string pending;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      CHECK_FALSE(reader.ended());
      pending += bytes.substr(at, piece);
      reader.take(pending);
    }
    CHECK(reader.ended());
    CHECK(file.list("/", "names") == Words{"a", "bc"});
    CHECK(file.arrays.at("/w").shape == std::vector<int64_t>{1, 2});
    CHECK(file.arrays.at("/w").values == std::vector<float>{1.5f, -2.5f});
  }
  const auto refused = [&](const std::function<void()>& more) {
    bytes.resize(behind_array);
    more();
    keras::KerasFile file;
    keras::MessageReader reader(file);
    return error_of(ErrorKind::file, [&] { reader.take(bytes); });
  };
  CHECK(has(refused([&] { put(Message::array), text("/w"), put(uint8_t{9}); }), "rank"));
  CHECK(has(refused([&] { put(Message::array), text("/w"), put(uint8_t{1}), put(int64_t{-1}); }),
            "extent"));
  CHECK(has(refused([&] {
              put(Message::array), text("/w"), put(uint8_t{3});
              for (int i = 0; i < 3; i++) put(int64_t{1} << 31);
            }),
            "extent"));
  CHECK(has(
      refused([&] { put(Message::text_attribute), text("/"), text("n"), put(uint32_t{1} << 30); }),
      "length"));
}

TEST_CASE("import: says what it made, keeps nothing of what it refuses") {
  const Place place;
  const std::string out = place.folder.path("out.safetensors");
  const std::string from = keras_file("polar_low_2_15.h5");
  const Ended e = fulmar_program({"import", from, "--out", out, "--classes", "neg,pos"});
  CAPTURE(e.err);
  CHECK(e.code == 0);
  for (const char* part :
       {"of Keras 2.15.0\n", "\npictures    48x48, 3 channels, centre crop 32x32",
        "\noutput      dense\n", "\nclasses     neg, pos\n"})
    CHECK(has(e.out, part));
  CHECK(has(e.err, "4 layers of augmentation do nothing in inference"));
  CHECK(has(e.err, "the state of the optimiser (Addons>AdamW) is left out"));
  const Ended j = fulmar_program({"import", from, "--out", out, "--json", "--resize", "bilinear"});
  CHECK(j.code == 0);
  const Json json = Json::parse(j.out);
  CHECK(json["keras"] == "2.15.0");
  CHECK(json["preprocess"]["resize"] == "bilinear");
  CHECK(json["classes"] == Json{"0", "1"});
  CHECK(json["notes"].size() == 3);

  // Of other outputs it says what they are; info tells of all of them.
  for (const auto& [name, said] :
       {std::pair{"pools_2_15.h5", "gives no probabilities: the model has no classes"},
        std::pair{"labels_2_15.h5", ""}, std::pair{"pixels_2_15.h5", ""}}) {
    const Ended other = fulmar_program({"import", keras_file(name), "--out", out});
    CHECK(other.code == 0);
    CHECK(has(other.err, said));
    const Ended info = fulmar_program({"info", out});
    CAPTURE(info.err);
    CHECK(info.code == 0);
    CHECK(has(info.out, "imported from       Keras 2.15.0"));
  }

  const auto wrong = [&](const Words& more, int code, const Words& said) {
    Words words{"import", from, "--out", place.model};
    words.insert(words.end(), more.begin(), more.end());
    check_refused({words, code, said}, place.folder.path());
  };
  wrong({"--classes", "a,b,c"}, 2, {"--classes names 3 classes, the model has 2"});
  wrong({"--classes", "a,,b"}, 2, {"a name is empty"});
  wrong({"--classes", "a,b", "--positive", "c"}, 2, {"--positive c", "a and b"});
  wrong({"--size", "64"}, 2, {"its size is 48, not the 64 of --size"});
  wrong({"--network", "polar-low", "--size", "48"}, 2, {"tells its network itself"});
  wrong({"--scale", "1,2,3"}, 2, {"--scale"});
  const std::string copy = place.folder.path("copy.h5");
  std::filesystem::copy_file(from, copy);
  check_refused({{"import", copy, "--out", copy}, 2, {"is the Keras file itself"}},
                place.folder.path());
  check_refused({{"import", from, "--out", place.folder.path("absent/out")}, 3, {"absent/out"}},
                place.folder.path());
}

TEST_CASE("import: weights alone are fitted to the network by name and shape, strictly") {
  const Place place;
  const std::string out = place.folder.path("out.safetensors");
  const Words weights{"import",    keras_file("polar_low_weights_2_15.h5"),
                      "--network", "polar-low",
                      "--size",    "48",
                      "--crop",    "32"};
  const auto with = [&](const Words& more) {
    Words words = weights;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  CHECK(fulmar_program(with({"--widths", "3", "--out", out})).code == 0);
  // The weights are those of the whole model.
  const std::string whole = place.folder.path("whole.safetensors");
  CHECK(fulmar_program({"import", keras_file("polar_low_2_15.h5"), "--out", whole}).code == 0);
  const std::string picture = place.folder.path("a.bmp");
  save_picture(picture, 48, 1);
  const Ended a = fulmar_program({"predict", out, picture, "--json"});
  const Ended b = fulmar_program({"predict", whole, picture, "--json"});
  CHECK(a.code == 0);
  CHECK(a.out == b.out);

  const auto refused = [&](const Words& more, int code, const Words& said) {
    Words words = with(more);
    words.insert(words.end(), {"--out", place.model});
    check_refused({words, code, said}, place.folder.path());
  };
  refused({"--widths", "4"}, 3, {"is [3,3,3,3] where layer 'conv2d' takes [3,3,3,4]"});
  refused({"--widths", "3,3"}, 3,
          {"weights are missing: ", "separable_conv2d_3/", "; weights have other shapes: "});
  refused({"--widths", "3", "--channels", "1"}, 3, {"where layer 'conv2d' takes [3,3,1,3]"});
  refused({"--scale", "0,1"}, 2, {"--scale goes with a whole model"});
  check_refused({{"import", keras_file("polar_low_weights_2_15.h5"), "--out", place.model},
                 3,
                 {"it holds weights alone"}},
                place.folder.path());
}

TEST_CASE("import: an imported model is trained on, with its classes and with others") {
  const Place place;
  const std::string model = place.folder.path("m.safetensors"), data = place.folder.path("data");
  REQUIRE(fulmar_program(
              {"import", keras_file("polar_low_2_15.h5"), "--out", model, "--classes", "neg,pos"})
              .code == 0);
  uint32_t seed = 0;
  for (const char* name : {"neg", "pos"})
    for (int i = 0; i < 4; i++)
      save_picture(data + "/" + name + "/" + std::to_string(i) + ".bmp", 48, seed++);
  const auto train = [&](const std::string& run, const std::string& from, const Words& more) {
    Words words{"train", from, "--out", place.folder.path(run), "--init", model, "--epochs", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return fulmar_program(words);
  };
  const Ended e = train("run", data, {});
  CAPTURE(e.err);
  CHECK(e.code == 0);
  CHECK_FALSE(has(e.err, "starts anew"));
  const Json config = Json::parse(read_file(place.folder.path("run/config.json"), 1 << 20));
  CHECK(config["size"] == "48");
  CHECK(config["crop"] == 32);
  CHECK(config["channels"] == 3);
  const std::string best = place.folder.path("run/best.safetensors");
  CHECK(fulmar_program({"eval", best, data}).code == 0);
  CHECK(fulmar_program({"eval", model, data}).code == 0);
  // A resumed run has the network in its state: the imported file may be gone.
  std::filesystem::rename(model, model + ".away");
  const std::string run = place.folder.path("run");
  const Ended resumed = fulmar_program({"train", "--out", run, "--resume", "--epochs", "2"});
  CAPTURE(resumed.err);
  CHECK(resumed.code == 0);
  std::filesystem::rename(model + ".away", model);

  for (int i = 0; i < 4; i++)
    save_picture(data + "/third/" + std::to_string(i) + ".bmp", 48, seed++);
  const Ended three = train("three", data, {});
  CAPTURE(three.err);
  CHECK(three.code == 0);
  CHECK(has(three.err, "the last layer starts anew"));

  const auto refused = [&](const Words& more, const std::string& said) {
    const Ended r = train("no", data, more);
    CHECK(r.code == 2);
    CHECK(has(r.err, said));
    CHECK_FALSE(std::filesystem::exists(place.folder.path("no/config.json")));
  };
  refused({"--crop", "16"}, "--crop 16: the network of " + model + " takes 32; leave it out");
  refused({"--widths", "3"}, "--widths: the network of");
  refused({"--range", "0,1"}, "--range: the network of");
  refused({"--channels", "1"}, "--channels 1: the network of");
}
