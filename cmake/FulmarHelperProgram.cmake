# fulmar_helper_program(TARGET NAME SOURCE LIBRARIES...): a program that only the program starts,
# because of the libraries that it links. It lies beside the program, and is installed where
# data/helper_program.h looks.
function(fulmar_helper_program target name source)
  add_executable(${target} ${source})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  target_link_libraries(${target} PRIVATE fulmar_flags ${ARGN})
  if(FULMAR_SANITIZE)
    target_compile_definitions(${target} PRIVATE FULMAR_SANITIZED)
  endif()
  install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/fulmar
    COMPONENT program)
endfunction()
