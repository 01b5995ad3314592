# Builds the programs that the tests save and restore.
#
# Every tests/programs/**/*.{c,cpp} becomes NAME (a PIE), NAME.nopie and NAME.static in
# <build>/tests/programs, compiled with -g -O0 and no other options, so that what is in a register
# and what is in memory is predictable. A comment in the source changes that:
#
#   // ckpt-build: no-static no-nopie    leave these variants out
#   // ckpt-build: shared                a library, NAME.so, instead of a program
#   // ckpt-cflags: -mavx512f            further compiler options
#   // ckpt-link: -ldl                   further linker options

set(CKPT_PROGRAMS_DIR "${PROJECT_BINARY_DIR}/tests/programs")

# Collects the words behind `// <key>:` in the given source file.
function(ckpt_source_words source key out)
  set(words "")
  file(STRINGS "${source}" lines REGEX "${key}:")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE ".*${key}:[ \t]*" "" rest "${line}")
    # Up to the end of the comment, or to the next key on the same line.
    string(REGEX REPLACE "[ \t]*(\\*/|ckpt-[a-z]+:).*$" "" rest "${rest}")
    separate_arguments(rest UNIX_COMMAND "${rest}")
    list(APPEND words ${rest})
  endforeach()
  set(${out} "${words}" PARENT_SCOPE)
endfunction()

function(ckpt_add_test_program source)
  get_filename_component(name "${source}" NAME_WE)
  ckpt_source_words("${source}" "ckpt-build" build)
  ckpt_source_words("${source}" "ckpt-cflags" cflags)
  ckpt_source_words("${source}" "ckpt-link" link)
  # The comments are read at configure time, so a change of the source must configure again.
  set_property(DIRECTORY "${PROJECT_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")

  if("shared" IN_LIST build)
    set(variants shared)
  else()
    set(variants pie nopie static)
    foreach(word IN LISTS build)
      if(word MATCHES "^no-(pie|nopie|static)$")
        list(REMOVE_ITEM variants ${CMAKE_MATCH_1})
      else()
        message(FATAL_ERROR "${source}: unknown word '${word}' in a ckpt-build comment")
      endif()
    endforeach()
  endif()

  foreach(variant IN LISTS variants)
    set(target "program-${name}-${variant}")
    if(variant STREQUAL "shared")
      add_library(${target} MODULE "${source}")
      set_target_properties(${target} PROPERTIES
        PREFIX "" SUFFIX ".so" OUTPUT_NAME "${name}" LIBRARY_OUTPUT_DIRECTORY "${CKPT_PROGRAMS_DIR}")
      target_compile_options(${target} PRIVATE -fPIC)
    else()
      add_executable(${target} "${source}")
      set(output "${name}")
      if(NOT variant STREQUAL "pie")
        set(output "${name}.${variant}")
      endif()
      set_target_properties(${target} PROPERTIES
        OUTPUT_NAME "${output}" RUNTIME_OUTPUT_DIRECTORY "${CKPT_PROGRAMS_DIR}")
      # Said in full: distributions differ in what their compilers do by default.
      target_compile_options(${target} PRIVATE
        $<IF:$<STREQUAL:${variant},pie>,-fPIE,-fno-pie>)
      target_link_options(${target} PRIVATE
        $<$<STREQUAL:${variant},pie>:-pie>
        $<$<STREQUAL:${variant},nopie>:-no-pie>
        $<$<STREQUAL:${variant},static>:-static>)
    endif()
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON
      C_STANDARD 17 C_EXTENSIONS ON CXX_STANDARD 20 CXX_EXTENSIONS ON
      POSITION_INDEPENDENT_CODE OFF)  # the options below say which kind
    target_compile_options(${target} PRIVATE -g -O0 -pthread -Wall -Wextra ${cflags})
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests/programs")
    target_link_options(${target} PRIVATE -pthread)
    target_link_libraries(${target} PRIVATE ${link})
    add_dependencies(test-programs ${target})
  endforeach()
endfunction()

# Not part of the default target: `cmake --build BUILD --target test-programs`.
add_custom_target(test-programs)
file(GLOB_RECURSE _program_sources CONFIGURE_DEPENDS
  "${PROJECT_SOURCE_DIR}/tests/programs/*.c" "${PROJECT_SOURCE_DIR}/tests/programs/*.cpp")
foreach(_source IN LISTS _program_sources)
  ckpt_add_test_program("${_source}")
endforeach()
