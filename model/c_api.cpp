#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "include/fulmar/fulmar.h"
#include "kernels/error.h"
#include "kernels/version.h"
#include "model/loaded_model.h"
#include "model/model_session.h"

struct fulmar_model {
  std::shared_ptr<const fulmar::model::LoadedModel> loaded;
};
struct fulmar_session {
  fulmar::model::ModelSession session;

  fulmar_session(std::shared_ptr<const fulmar::model::LoadedModel> model, int threads)
      : session(std::move(model), threads) {}
};

namespace {

using fulmar::DType;
using fulmar::Error;
using fulmar::ErrorKind;
using fulmar::Shape;
using fulmar::usage_error;
using fulmar::model::HostTensor;
using fulmar::model::TensorInfo;

static_assert(sizeof(fulmar_tensor) == 80, "other compilers and languages count on it");

// Fixed memory: a message can be kept where no memory is left.
thread_local char last_error[4096];

fulmar_status failed(fulmar_status status, const char* message) noexcept {
  std::strncpy(last_error, message, sizeof last_error - 1);
  return status;
}

fulmar_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return FULMAR_USAGE;
    case ErrorKind::file:
      return FULMAR_FILE;
    case ErrorKind::device:
      return FULMAR_DEVICE;
    case ErrorKind::diverged:
      return FULMAR_DIVERGED;
    case ErrorKind::cancelled:
      return FULMAR_CANCELLED;
  }
  return FULMAR_INTERNAL;
}

// Calls `body` and turns what it throws into a status and a message.
template <class Body>
fulmar_status guarded(const Body& body) noexcept {
  try {
    body();
    return FULMAR_OK;
  } catch (const Error& error) {
    return failed(status_of(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return failed(FULMAR_DEVICE, "out of memory: use smaller tensors or a smaller network");
  } catch (const std::exception& error) {
    return failed(FULMAR_INTERNAL, error.what());
  } catch (...) {
    return failed(FULMAR_INTERNAL, "an exception of an unknown type");
  }
}

template <class T>
T& given(T* pointer, const char* what) {
  if (!pointer) usage_error(std::string(what) + " is a null pointer");
  return *pointer;
}

fulmar_type type_of(DType type) {
  switch (type) {
    case DType::f32:
      return FULMAR_F32;
    case DType::f64:
      return FULMAR_F64;
    case DType::u8:
      return FULMAR_U8;
    case DType::u16:
      return FULMAR_U16;
    case DType::i32:
      return FULMAR_I32;
    case DType::bf16:
      break;
  }
  usage_error(std::string("tensors of ") + name_of(type) + " have no type here");
}

DType type_of(fulmar_type type, const std::string& what) {
  switch (type) {
    case FULMAR_F32:
      return DType::f32;
    case FULMAR_F64:
      return DType::f64;
    case FULMAR_U8:
      return DType::u8;
    case FULMAR_U16:
      return DType::u16;
    case FULMAR_I32:
      return DType::i32;
    default:
      usage_error(what + ": there is no type " + std::to_string(type));
  }
}

Shape shape_of(const fulmar_tensor& tensor, const std::string& what) {
  const int64_t* e = tensor.extents;
  switch (tensor.rank) {
    case 0:
      return {};
    case 1:
      return {e[0]};
    case 2:
      return {e[0], e[1]};
    case 3:
      return {e[0], e[1], e[2]};
    case 4:
      return {e[0], e[1], e[2], e[3]};
    default:
      usage_error(what + ": a rank is 0 to 4, " + std::to_string(tensor.rank) + " given");
  }
}

HostTensor tensor_of(const fulmar_tensor& tensor, const std::string& what) {
  HostTensor host;
  host.data = tensor.data;
  host.type = type_of(tensor.type, what);
  host.shape = shape_of(tensor, what);
  int64_t next = 1;
  bool in_order = true;
  for (const int64_t stride : tensor.strides) in_order = in_order && stride == 0;
  for (int axis = host.shape.rank() - 1; axis >= 0; axis--) {
    host.stride[static_cast<size_t>(axis)] = in_order ? next : tensor.strides[axis];
    // Extents that overflow are refused later.
    if (__builtin_mul_overflow(next, host.shape[axis], &next)) next = 0;
  }
  return host;
}

std::vector<HostTensor> tensors_of(const fulmar_tensor* tensors, size_t count, const char* what) {
  if (count > 0) given(tensors, what);
  std::vector<HostTensor> list;
  for (size_t i = 0; i < count; i++)
    list.push_back(tensor_of(tensors[i], std::string(what) + "[" + std::to_string(i) + "]"));
  return list;
}

fulmar_status describe(const std::vector<TensorInfo>& list, const char* what, size_t number,
                       const char** name, fulmar_tensor* tensor) noexcept {
  return guarded([&] {
    fulmar_tensor& to = given(tensor, "tensor");
    if (number >= list.size())
      usage_error(std::string("the model has no ") + what + " " + std::to_string(number) +
                  ": there are " + std::to_string(list.size()));
    const TensorInfo& info = list[number];
    to = fulmar_tensor{nullptr, type_of(info.type), info.extents.rank(), {}, {}};
    for (int axis = 0; axis < info.extents.rank(); axis++) to.extents[axis] = info.extents[axis];
    if (name) *name = info.name.c_str();
  });
}

const std::vector<TensorInfo> none;

}  // namespace

extern "C" {

const char* fulmar_version(void) { return fulmar::version(); }

const char* fulmar_last_error(void) { return last_error; }

fulmar_status fulmar_model_load(const char* path, const char* device, fulmar_model** model) {
  return guarded([&] {
    given(model, "model") = nullptr;
    const std::string file = &given(path, "path");
    auto loaded = std::make_shared<const fulmar::model::LoadedModel>(file, device ? device : "cpu");
    *model = new fulmar_model{std::move(loaded)};
  });
}

void fulmar_model_free(fulmar_model* model) { delete model; }

size_t fulmar_model_input_count(const fulmar_model* model) {
  return model ? model->loaded->inputs().size() : 0;
}

size_t fulmar_model_output_count(const fulmar_model* model) {
  return model ? model->loaded->outputs().size() : 0;
}

fulmar_status fulmar_model_input(const fulmar_model* model, size_t number, const char** name,
                                 fulmar_tensor* tensor) {
  return describe(model ? model->loaded->inputs() : none, "input", number, name, tensor);
}

fulmar_status fulmar_model_output(const fulmar_model* model, size_t number, const char** name,
                                  fulmar_tensor* tensor) {
  return describe(model ? model->loaded->outputs() : none, "output", number, name, tensor);
}

const char* fulmar_model_metadata(const fulmar_model* model, const char* key) {
  if (!model || !key) return nullptr;
  for (const auto& [name, text] : model->loaded->metadata())
    if (name == key) return text.c_str();
  return nullptr;
}

fulmar_status fulmar_session_create(const fulmar_model* model, int32_t threads,
                                    fulmar_session** session) {
  return guarded([&] {
    given(session, "session") = nullptr;
    const auto& loaded = given(model, "model").loaded;
    if (threads < 0)
      usage_error("threads is " + std::to_string(threads) + ": 0 or more are possible");
    *session = new fulmar_session(loaded, threads);
  });
}

void fulmar_session_free(fulmar_session* session) { delete session; }

fulmar_status fulmar_session_run(fulmar_session* session, const fulmar_tensor* inputs,
                                 size_t input_count, const fulmar_tensor* outputs,
                                 size_t output_count) {
  return guarded([&] {
    given(session, "session")
        .session.run(tensors_of(inputs, input_count, "inputs"),
                     tensors_of(outputs, output_count, "outputs"));
  });
}

void fulmar_session_cancel(fulmar_session* session) {
  if (session) session->session.cancel();
}

}  // extern "C"
