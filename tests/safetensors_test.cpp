#include "engine/io/safetensors.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

namespace {

using fulmar::Error;
using fulmar::ErrorKind;
using fulmar::Safetensors;
using fulmar::StoredTensor;
using fulmar::StoredType;
using fulmar::write_safetensors;
using fulmar::test::error_of;
using fulmar::test::TempFolder;

constexpr uint64_t megabyte = 1 << 20;

Safetensors parse(const std::string& file) {
  return Safetensors::parse(std::as_bytes(std::span(file.data(), file.size())), "some.safetensors");
}

std::string file_of(const std::string& header, const std::string& data = "") {
  const uint64_t bytes = header.size();
  return std::string(reinterpret_cast<const char*>(&bytes), 8) + header + data;
}

// What is wrong with a file of this header and data; it must be named, with what to do.
std::string problem_of(const std::string& header, const std::string& data = "") {
  const std::string message = error_of(ErrorKind::file, [&] { parse(file_of(header, data)); });
  CHECK(message.find("cannot read 'some.safetensors': ") == 0);
  CHECK(message.find("copy it again") != message.npos);
  const size_t begin = std::strlen("cannot read 'some.safetensors': ");
  return message.substr(begin, message.find(" (the file is damaged") - begin);
}

template <class T>
std::vector<T> values_of(const StoredTensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.data, tensor.bytes());
  return values;
}

template <class T>
void check_0_to_5(const Safetensors& file, const char* name, StoredType type) {
  CAPTURE(name);
  const StoredTensor& tensor = file.at(name);
  CHECK(tensor.type == type);
  CHECK(tensor.shape == std::vector<int64_t>{2, 3});
  CHECK(values_of<T>(tensor) == std::vector<T>{0, 1, 2, 3, 4, 5});
}

const float kernel[] = {0.5f, -1, 2, 3, 4, 5.25f};
const uint8_t labels[] = {1, 2, 3};
const int64_t step = int64_t{1} << 40;

void write_example(const std::string& path) {
  write_safetensors(path,
                    std::vector<StoredTensor>{{"labels", StoredType::u8, {3}, labels},
                                              {"dense/kernel", StoredType::f32, {2, 3}, kernel},
                                              {"empty", StoredType::f32, {0, 3}, nullptr},
                                              {"step", StoredType::i64, {}, &step}},
                    {{"note", "a \"quoted\" ø\n"}});
}

}  // namespace

TEST_CASE(
    "a file of Python's safetensors package is read, with the note that it has no checksums") {
  const Safetensors file =
      Safetensors::read(fulmar::test::golden("safetensors_python.safetensors"));
  check_0_to_5<double>(file, "of/F64", StoredType::f64);
  check_0_to_5<float>(file, "of/F32", StoredType::f32);
  check_0_to_5<int64_t>(file, "of/I64", StoredType::i64);
  check_0_to_5<int32_t>(file, "of/I32", StoredType::i32);
  check_0_to_5<int16_t>(file, "of/I16", StoredType::i16);
  check_0_to_5<int8_t>(file, "of/I8", StoredType::i8);
  check_0_to_5<uint64_t>(file, "of/U64", StoredType::u64);
  check_0_to_5<uint32_t>(file, "of/U32", StoredType::u32);
  check_0_to_5<uint16_t>(file, "of/U16", StoredType::u16);
  check_0_to_5<uint8_t>(file, "of/U8", StoredType::u8);
  CHECK(values_of<uint8_t>(file.at("of/BOOL")) == std::vector<uint8_t>{0, 1, 0, 1, 0, 1});
  CHECK(values_of<uint16_t>(file.at("of/BF16")) ==
        std::vector<uint16_t>{0, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0});
  CHECK(values_of<uint16_t>(file.at("of/F16")) ==
        std::vector<uint16_t>{0, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500});
  CHECK(file.at("scalar").shape.empty());
  CHECK(values_of<float>(file.at("scalar")) == std::vector<float>{2.5f});
  CHECK(file.at("nothing").shape == std::vector<int64_t>{0, 4});
  CHECK(file.tensors().size() == 15);
  CHECK(file.text("made by") == "safetensors 0.8.0 \"ø\"");
  REQUIRE(file.notes().size() == 1);
  CHECK(file.notes()[0].find("carries no checksums") != std::string::npos);
}

TEST_CASE("the bytes written are those that Python's package was seen to read") {
  TempFolder folder;
  write_example(folder.path("a.safetensors"));
  const std::string bytes = fulmar::read_file(folder.path("a.safetensors"), megabyte);
  CHECK(bytes ==
        fulmar::read_file(fulmar::test::golden("safetensors_fulmar.safetensors"), megabyte));
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  CHECK((8 + header_bytes) % 64 == 0);
}

TEST_CASE("what is written is read back, in order of element size, aligned, without a note") {
  TempFolder folder;
  write_example(folder.path("a"));
  const Safetensors file = Safetensors::read(folder.path("a"));
  CHECK(file.notes().empty());
  CHECK(file.metadata().size() == 1);
  CHECK(file.text("note") == "a \"quoted\" ø\n");
  REQUIRE(file.tensors().size() == 4);
  CHECK(file.tensors()[0].name == "step");
  CHECK(file.tensors()[1].name == "dense/kernel");
  CHECK(file.tensors()[2].name == "empty");
  CHECK(file.tensors()[3].name == "labels");
  CHECK(reinterpret_cast<uintptr_t>(file.tensors()[0].data) % 64 == 0);
  CHECK(values_of<int64_t>(file.at("step")) == std::vector<int64_t>{step});
  CHECK(values_of<float>(file.at("dense/kernel")) == std::vector<float>(kernel, kernel + 6));
  CHECK(values_of<uint8_t>(file.at("labels")) == std::vector<uint8_t>{1, 2, 3});
  CHECK(file.at("empty").elements() == 0);
  CHECK(file.find("other") == nullptr);
  CHECK(error_of(ErrorKind::file, [&] { file.at("other"); }).find("has no tensor 'other'") !=
        std::string::npos);
  CHECK(error_of(ErrorKind::file, [&] { file.text("classes"); }).find("'classes'") !=
        std::string::npos);
}

TEST_CASE("a file with no tensors at all") {
  TempFolder folder;
  write_safetensors(folder.path("a"), {}, {});
  CHECK(Safetensors::read(folder.path("a")).tensors().empty());
  CHECK(parse(file_of("{}")).tensors().empty());
}

TEST_CASE("every flipped bit and every cut is noticed") {
  TempFolder folder;
  write_example(folder.path("a"));
  const std::string good = fulmar::read_file(folder.path("a"), megabyte);
  CHECK(parse(good).notes().empty());
  int unnoticed = 0, unnamed = 0;
  const auto examine = [&](const std::string& bytes) {
    const std::string message = error_of(ErrorKind::file, [&] { parse(bytes); });
    unnoticed += message.empty();
    unnamed += message.find("cannot read 'some.safetensors': ") != 0;
  };
  for (size_t at = 0; at < good.size(); at++)
    for (int bit = 0; bit < 8; bit++) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      examine(bad);
    }
  for (size_t length = 0; length < good.size(); length++) examine(good.substr(0, length));
  examine(good + '\0');
  CHECK(unnoticed == 0);
  CHECK(unnamed == 0);
}

TEST_CASE("a file changed by another program that left the checksums is refused with the remedy") {
  TempFolder folder;
  write_example(folder.path("a"));
  std::string bytes = fulmar::read_file(folder.path("a"), megabyte);
  bytes.back()++;
  CHECK(error_of(ErrorKind::file, [&] { parse(bytes); }).find("remove data_crc32c") !=
        std::string::npos);
}

TEST_CASE("a file of a later format is refused by its version") {
  TempFolder folder;
  write_example(folder.path("a"));
  std::string bytes = fulmar::read_file(folder.path("a"), megabyte);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const std::string version = "\"format_version\":\"1\"", digits = "\"header_crc32c\":\"";
  bytes[bytes.find(version) + version.size() - 2] = '2';
  const size_t crc = bytes.find(digits) + digits.size();
  bytes.replace(crc, 8, "00000000");
  char text[9];
  std::snprintf(text, sizeof text, "%08x", fulmar::crc32c(bytes.data() + 8, header_bytes));
  bytes.replace(crc, 8, text);
  CHECK(error_of(ErrorKind::file, [&] { parse(bytes); }).find("format_version is '2'") !=
        std::string::npos);
}

TEST_CASE("what is wrong with a header is said") {
  const std::string good = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  CHECK(parse(file_of("{" + good + "}", "xy")).at("a").elements() == 2);
  CHECK(parse(file_of("{" + good + "} \n ", "xy")).at("a").elements() == 2);

  CHECK(problem_of("") == "its header is not a JSON object");
  CHECK(problem_of("[]") == "its header is not a JSON object");
  CHECK(problem_of(" {}") == "its header is not a JSON object");
  CHECK(problem_of("{") == "its header is not JSON at byte 2");
  CHECK(problem_of("{} x") == "its header is not JSON at byte 4");
  CHECK(problem_of(std::string("{}\0x", 4)) == "its header has a NUL byte");
  CHECK(problem_of("{\"\xff\":1}") == "its header is not JSON at byte 3");
  CHECK(problem_of("{\"a\":[[[1]]]}") == "its header has a list where none belongs, at 'a'");
  CHECK(problem_of("{\"a\":3}") == "its header has a number where none belongs, at 'a'");
  CHECK(problem_of("{\"a\":null}") == "its header has null where none belongs, at 'a'");
  CHECK(problem_of("{\"\\u001b[31m\":true}") ==
        "its header has true or false where none belongs, at '\\x1b[31m'");
  CHECK(problem_of("{\"" + std::string(200, 'n') + "\":true}") ==
        "its header has true or false where none belongs, at '" + std::string(80, 'n') + "...'");
  CHECK(problem_of(R"({"__metadata__":{"a":1}})") ==
        "its header has a number where none belongs, at 'a'");
  CHECK(problem_of(R"({"__metadata__":{"a":"1","a":"1"}})") ==
        "the metadata key 'a' is there twice");
  CHECK(problem_of(R"({"__metadata__":{"a":{}}})") ==
        "its header has an object where none belongs, at 'a'");
  CHECK(problem_of(R"({"__metadata__":{},"__metadata__":{}})") ==
        "the name '__metadata__' is there twice");
  CHECK(problem_of("{" + good + "," + good + "}", "xy") == "the name 'a' is there twice");
  CHECK(problem_of("{" + good + "}", "x") ==
        "it is cut short: its tensors need 2 bytes, 1 are there");
  CHECK(problem_of("{" + good + "}", "xyz") == "1 bytes follow its last tensor");

  const auto tensor = [](const std::string& inside, const std::string& data = "xy") {
    return problem_of("{\"a\":{" + inside + "}}", data);
  };
  CHECK(tensor(R"("shape":[2],"data_offsets":[0,2])") == "tensor 'a' lacks dtype");
  CHECK(tensor(R"("dtype":"U8","data_offsets":[0,2])") == "tensor 'a' lacks shape");
  CHECK(tensor(R"("dtype":"U8","shape":[2])") == "tensor 'a' lacks data_offsets");
  CHECK(tensor(R"("dtype":"U9","shape":[2],"data_offsets":[0,2])") ==
        "tensor 'a' has the unknown type 'U9'");
  CHECK(tensor(R"("dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2])") ==
        "tensor 'a' has two entries 'dtype'");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2])") ==
        "tensor 'a' has two entries 'shape'");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,2],"data_offsets":[0,2])") ==
        "tensor 'a' has two entries 'data_offsets'");
  CHECK(tensor(R"("dtype":"U8","shape":[-2],"data_offsets":[0,2])") ==
        "its header has a negative number where none belongs, at 'shape'");
  CHECK(tensor(R"("dtype":"U8","shape":[2.0],"data_offsets":[0,2])") ==
        "its header has a fraction or huge number where none belongs, at 'shape'");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0])") ==
        "tensor 'a' needs two data_offsets");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,2,4])") ==
        "its header has a number where none belongs, at 'data_offsets'");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[0,2],"more":"x")") ==
        "its header has a text where none belongs, at 'more'");
  CHECK(tensor(R"("dtype":"U8","shape":[2],"data_offsets":[2,0])") ==
        "tensor 'a' ends before it begins");
  CHECK(tensor(R"("dtype":"U8","shape":[3],"data_offsets":[0,2])") ==
        "tensor 'a' has 2 bytes, its shape needs 3");
  CHECK(tensor(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])", "") ==
        "tensor 'a' is too large");
  CHECK(tensor(R"("dtype":"U8","shape":[4611686018427387904,2,0],"data_offsets":[0,0])", "") ==
        "tensor 'a' is too large");
  CHECK(tensor(R"("dtype":"U8","shape":[0,4611686018427387904,2],"data_offsets":[0,0])", "") ==
        "tensor 'a' is too large");
  CHECK(tensor(R"("dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,2])") ==
        "tensor 'a' is too large");
  CHECK(tensor(R"("dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,2])") ==
        "its header has a fraction or huge number where none belongs, at 'shape'");
  std::string ones = "1";
  for (int i = 0; i < 64; i++) ones += ",1";
  CHECK(tensor("\"dtype\":\"U8\",\"shape\":[" + ones + "],\"data_offsets\":[0,1]", "x") ==
        "tensor 'a' has more than 64 axes");
  CHECK(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[1,2])") ==
        "there is a gap before tensor 'a'");
  const std::string second = R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})";
  CHECK(problem_of("{" + good + second, "xyz") == "tensor 'b' overlaps the one before it");
}

TEST_CASE("a deeply nested header is refused without being built") {
  CHECK(problem_of("{\"a\":" + std::string(5'000'000, '[')) ==
        "its header has a list where none belongs, at 'a'");
}

TEST_CASE("other files are refused") {
  TempFolder folder;
  const auto problem = [&](const std::string& bytes) {
    fulmar::write_file(folder.path("a"), bytes);
    return error_of(ErrorKind::file, [&] { Safetensors::read(folder.path("a")); });
  };
  CHECK(problem("").find("it is empty") != std::string::npos);
  CHECK(problem("1234567").find("it has only 7 bytes") != std::string::npos);
  CHECK(problem("\x89HDF\r\n\x1a\n 123456").find("no header length") != std::string::npos);
  CHECK(problem(file_of("{}").substr(0, 9)).find("its header has 2 bytes, 1 are there") !=
        std::string::npos);
  CHECK(error_of(ErrorKind::file, [&] {
          Safetensors::read(folder.path("b"));
        }).find("No such file or directory") != std::string::npos);
  fulmar::write_file(folder.path("a"), file_of("{}"));
  CHECK(error_of(ErrorKind::file, [&] {
          Safetensors::read(folder.path("a"), 9);
        }).find("has 10 bytes, at most 9") != std::string::npos);
}

TEST_CASE("what can't be a file of this format is not written") {
  TempFolder folder;
  const std::string path = folder.path("a");
  const auto refused = [&](const std::vector<StoredTensor>& tensors,
                           const std::map<std::string, std::string>& metadata) {
    std::string message =
        error_of(ErrorKind::usage, [&] { write_safetensors(path, tensors, metadata); });
    CHECK_THROWS_AS(fulmar::InputFile{path}, Error);
    return message;
  };
  const StoredTensor a{"a", StoredType::u8, {3}, labels};
  CHECK(refused({a, a}, {}).find("have the name 'a'") != std::string::npos);
  CHECK(refused({a}, {{"data_crc32c", "0"}}).find("'data_crc32c' belongs to the file format") !=
        std::string::npos);
  CHECK(refused({a}, {{"text", "\xff"}}).find("not UTF-8") != std::string::npos);
  CHECK(refused({{"\xff", StoredType::u8, {3}, labels}}, {}).find("not UTF-8") !=
        std::string::npos);
  CHECK(refused({a}, {{"text", std::string(Safetensors::max_header_bytes, ' ')}})
            .find("at most 100 MB") != std::string::npos);
}
