# Tests of the program: its parts, and itself as a child process.

# Writing to a chosen folder fails as on a full disk; to be preloaded.
add_library(fulmar_no_space MODULE support/no_space.cpp)
target_link_libraries(fulmar_no_space PRIVATE ${CMAKE_DL_LIBS})
# System calls fail as on file systems that lack them; to be preloaded.
add_library(fulmar_failing_calls MODULE support/failing_calls.cpp)
target_link_libraries(fulmar_failing_calls PRIVATE ${CMAKE_DL_LIBS})

# The CUDA backend's library on the emulator, and libraries that are none.
add_library(fulmar_fake_cuda MODULE fake_cuda.cpp
  ${PROJECT_SOURCE_DIR}/kernels/host_memory.cpp ${PROJECT_SOURCE_DIR}/kernels/view.cpp
  ${PROJECT_SOURCE_DIR}/kernels/warp.cpp)
set_target_properties(fulmar_fake_cuda PROPERTIES
  CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(fulmar_fake_cuda PRIVATE fulmar_simt_backend)
# One that needs a library which can't be found.
add_library(fulmar_absent SHARED support/absent.cpp)
add_library(fulmar_unloadable MODULE support/needs_absent.cpp)
target_link_libraries(fulmar_unloadable PRIVATE fulmar_absent)
set_target_properties(fulmar_unloadable PROPERTIES SKIP_BUILD_RPATH ON)

# fulmar_program_test(SUBJECT source...): fulmar_test for tests of tools/.
function(fulmar_program_test subject)
  fulmar_test(${subject} ${ARGN})
  set(target fulmar_tests_${subject})
  if(NOT TARGET ${target})
    return()
  endif()
  target_link_libraries(${target} PRIVATE fulmar_tools)
  add_dependencies(${target} fulmar_cli fulmar_no_space fulmar_failing_calls fulmar_fake_cuda
    fulmar_unloadable)
endfunction()

fulmar_program_test(bad_input bad_input_test.cpp)
fulmar_program_test(bad_run bad_run_test.cpp)
fulmar_program_test(bench bench_test.cpp)
if(TARGET fulmar_counted)
  add_dependencies(fulmar_tests_bench fulmar_counted)
endif()
fulmar_program_test(cli cli_test.cpp)
fulmar_program_test(compare_table compare_table_test.cpp)
fulmar_program_test(deep_pictures deep_pictures_test.cpp)
fulmar_program_test(devices devices_test.cpp)
if(TARGET fulmar_cuda)
  add_dependencies(fulmar_tests_devices fulmar_cuda)
endif()
fulmar_program_test(eval_check eval_check_test.cpp)
fulmar_program_test(exchange exchange_test.cpp exchange_onnx_test.cpp support/goldens.cpp)
fulmar_program_test(explain_real explain_real_test.cpp)
fulmar_program_test(explain_run explain_run_test.cpp)
fulmar_program_test(folder_cases folder_cases_test.cpp)
fulmar_program_test(html html_test.cpp)
if(TARGET fulmar_netcdf)
  fulmar_program_test(ice_run ice_run_test.cpp)
endif()
fulmar_program_test(keras keras_test.cpp keras_layers_test.cpp support/goldens.cpp)
if(TARGET fulmar_hdf5)
  fulmar_program_test(explain_keras explain_keras_test.cpp support/goldens.cpp)
  fulmar_program_test(keras_files keras_files_test.cpp)
  if(TARGET fulmar_tests_keras_files)
    target_link_libraries(fulmar_tests_keras_files PRIVATE fulmar::hdf5 fulmar::zip)
  endif()
endif()
fulmar_program_test(predict predict_test.cpp)
fulmar_program_test(predict_windows predict_windows_test.cpp)
fulmar_program_test(progress progress_test.cpp)
fulmar_program_test(pixel_maps pixel_maps_test.cpp)
fulmar_program_test(pixel_run pixel_run_test.cpp)
fulmar_program_test(raster_run raster_run_test.cpp)
fulmar_program_test(report report_test.cpp report_page_test.cpp)
fulmar_program_test(resolution resolution_test.cpp)
fulmar_program_test(robustness robustness_test.cpp)
fulmar_program_test(run_folder run_folder_test.cpp)
fulmar_program_test(split split_test.cpp)
fulmar_program_test(synth synth_test.cpp)
fulmar_program_test(train train_test.cpp)
fulmar_program_test(train_run train_run_test.cpp)

# Slow without optimisation, and under sanitizers.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT FULMAR_SANITIZE)
  fulmar_add_test("kill and resume" COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/resume_test.sh
    $<TARGET_FILE:fulmar_cli> ${CMAKE_CURRENT_BINARY_DIR}/resume)
endif()

# Trains for minutes: once is enough where several builds are tested.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT FULMAR_TEST_PREFIX)
  fulmar_program_test(no_shortcut no_shortcut_test.cpp support/baselines.cpp)
  set_tests_properties(no_shortcut PROPERTIES TIMEOUT 1200 PROCESSORS 2)
endif()
