include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(grafo_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/grafo")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/grafo" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS grafo EXPORT grafoTargets INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT grafoTargets NAMESPACE grafo:: DESTINATION "${grafo_package_dir}")

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/grafoConfig.cmake.in" grafoConfig.cmake
                              INSTALL_DESTINATION "${grafo_package_dir}")
write_basic_package_version_file(grafoConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/grafoConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/grafoConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/grafo_compiled.cmake"
        DESTINATION "${grafo_package_dir}")
