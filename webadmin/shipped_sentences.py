"""What files of the release say in English: hwprofiles and the catalogue; a part of box_in_words.

A customer's own files are shown as they are written.
"""


def N_(message: str) -> str:
    """Marks a text of the table: Babel looks for calls of this name."""
    return message


PROFILES = (
    N_("AMD Radeon AI PRO R9000 and RX 9000 (RDNA4) by ROCm"),
    N_("AMD Radeon PRO W7000 and RX 7000 (RDNA3) by ROCm"),
    N_("AMD Radeon cards by Vulkan (RDNA1 to RDNA4)"),
    N_("AMD Ryzen AI Max (Strix Halo, Radeon 8050S and 8060S) by ROCm"),
    N_("AMD Ryzen AI Max (Strix Halo, Radeon 8050S and 8060S) by Vulkan"),
    N_("Apple silicon by Metal (M1 and newer)"),
    N_("Apple silicon by MLX (M1 and newer)"),
    N_("Arm processor, 64 bit"),
    N_("x86 processor with AMX"),
    N_("x86 processor with AVX2"),
    N_("x86 processor with AVX-512"),
    N_("Any x86 processor"),
    N_("Intel Arc and Arc Pro (Alchemist, Battlemage), Data Center GPU Flex"),
    N_("Intel integrated graphics (Iris Xe, Xe-LPG, Xe2, Xe3)"),
    N_("Intel NPU 3720 (Core Ultra series 1, Meteor Lake; also Arrow Lake)"),
    N_("Intel NPU 4000 (Core Ultra series 2, Lunar Lake)"),
    N_("Intel NPU 5 (Core Ultra series 3, Panther Lake; also Wildcat Lake)"),
    N_("NVIDIA A100 and A30 (Ampere, data centre)"),
    N_("NVIDIA RTX A6000 and A40 (Ampere)"),
    N_("NVIDIA B200, GB200, B300 and GB300 (Blackwell, data centre)"),
    N_("Other NVIDIA cards by CUDA"),
    N_("NVIDIA DGX Spark and other machines with GB10"),
    N_("NVIDIA H100, H200, H20, H800 and GH200 (Hopper)"),
    N_("NVIDIA L40S, L40 and L20 (Ada, data centre)"),
    N_("NVIDIA GeForce RTX 30 and RTX A2000 to A5500 (Ampere)"),
    N_("NVIDIA GeForce RTX 40 and RTX 2000 to 5000 Ada"),
    N_("NVIDIA GeForce RTX 50 and RTX PRO 2000 to 5000 Blackwell"),
    N_("NVIDIA RTX 6000 and RTX 5880 Ada"),
    N_("NVIDIA RTX PRO 6000 Blackwell Server Edition by vLLM"),
    N_("NVIDIA cards by Vulkan"),
    N_("Any graphics with Vulkan"),
    N_(
        "Install AMD's ROCm 6.4.1 or newer, best 7.2, with a kernel that it supports, and give the"
        " server's user the group render."
    ),
    N_(
        "Install AMD's ROCm 6.1 or newer, best 7.2, with a kernel that it supports, and give the"
        " server's user the group render."
    ),
    N_(
        "Install the kernel's amdgpu driver with AMD's graphics firmware and Mesa's Vulkan driver"
        " (package mesa-vulkan-drivers)."
    ),
    N_("Install kernel 6.18.4 or newer (or Ubuntu's OEM kernel 6.14.0-1018) and AMD's ROCm 7.2.1 or newer."),
    N_("Install Mesa's Vulkan driver (package mesa-vulkan-drivers) and AMD's graphics firmware."),
    N_("Nothing need be mended: this NPU stays unused, and the graphics or the processor answer."),
    N_(
        "Install Lemonade Server and FastFlowLM (lemonade-server.ai/flm_npu_linux.html), kernel 7.0"
        " or the package amdxdna-dkms, and NPU firmware 1.1 or newer; IOMMU must be on."
    ),
    N_("Install the appliance's llama.cpp for macOS, which has Metal in it."),
    N_("Install macOS 14 or newer and the Python package mlx-lm, so that mlx_lm.server is found."),
    N_("Install the appliance's llama.cpp for processors, which is part of every installation."),
    N_(
        "Install kernel 6.2 (Battlemage: 6.12) or newer, Intel's compute runtime (packages"
        " intel-opencl-icd and libze-intel-gpu1) and OpenVINO 2025.0 or newer."
    ),
    N_(
        "Install a kernel that knows this processor, Intel's compute runtime (packages"
        " intel-opencl-icd and libze-intel-gpu1) and OpenVINO 2025.0 or newer."
    ),
    N_(
        "Install kernel 6.6 or newer, Intel's NPU driver with its firmware"
        " (github.com/intel/linux-npu-driver) and OpenVINO 2025.0 or newer."
    ),
    N_(
        "Install kernel 6.8 or newer, version 1.10.1 or newer of Intel's NPU driver with its firmware"
        " (github.com/intel/linux-npu-driver) and OpenVINO 2025.0 or newer."
    ),
    N_(
        "Install kernel 6.17 or newer, version 1.28 (Wildcat Lake: 1.35) or newer of Intel's NPU"
        " driver with its firmware (github.com/intel/linux-npu-driver) and OpenVINO 2025.4 or newer."
    ),
    N_(
        "Install NVIDIA's driver, 525 or newer (580 or newer is best), and vLLM so that its command"
        " vllm is found."
    ),
    N_("Install NVIDIA's driver, 525 or newer (580 or newer is best), and restart."),
    N_(
        "Install NVIDIA's driver, 570 or newer (B300: 580), with its open kernel modules, and vLLM so"
        " that its command vllm is found."
    ),
    N_("Install the updates of DGX OS, which bring NVIDIA's driver 580 or newer."),
    N_("Install NVIDIA's JetPack 6 or newer, which brings the kernel, the driver and CUDA."),
    N_(
        "Install NVIDIA's driver, 570 or newer, with its open kernel modules (package"
        " nvidia-driver-580-open): the closed ones don't know Blackwell."
    ),
    N_(
        "Install NVIDIA's driver, or kernel 6.6 or newer with Mesa's Vulkan driver (package"
        " mesa-vulkan-drivers)."
    ),
    N_("Install the graphics driver of the device's maker, or Mesa's (package mesa-vulkan-drivers)."),
    N_("Kernel 6.18.3 to 6.18.6 makes RDNA3 cards fault under ROCm after a while, which 6.17.9 does not."),
    N_(
        "Kernels before 6.18.4 lack two fixes that Strix Halo needs for computing: it fails to start"
        " or hangs."
    ),
    N_(
        "ROCm 7.9 and 7.10 were built for older kernels and do not work on Strix Halo with kernel"
        " 6.18.4 and newer."
    ),
    N_(
        "The firmware release 20251125 makes Strix Halo fault and hang under ROCm; 20260110 and newer"
        " are mended."
    ),
    N_(
        "No server computes language models on the first Ryzen AI NPU under Linux: FastFlowLM"
        " supports XDNA 2 only."
    ),
    N_(
        "Intel's compute runtime 25.48 aborts with the xe driver of kernel 6.18 and newer as soon as"
        " it allocates memory."
    ),
    N_(
        "OpenVINO 2025.2 was reported to answer with garbage on Intel graphics (Meteor Lake) as soon"
        " as a model comes from its cache."
    ),
    N_("Intel's NPU driver runs language models on Lunar Lake only from version 1.10.1 on."),
)
CATALOGUE = (
    N_("One vector of 1024 numbers for a text; of its three ways to search this is the dense one."),
    N_("Always thinks before it answers; takes no system prompt, says its maker."),
    N_("DeepSeek's weights are MIT; they derive from Llama, whose own terms go on to hold."),
    N_("Makes a picture in few steps."),
    N_("Its sibling FLUX.1 dev is not for companies."),
    N_("As GGUF it reads text alone."),
    N_(
        "Google's own terms, with a list of forbidden uses that whoever passes the model on must pass"
        " on, too."
    ),
    N_("Made for one GPU with 80 GB."),
    N_("Its experts were trained at 4 bit (MXFP4) and stay so in every file."),
    N_("Meta's own terms: with acceptable uses, and another licence above 700 million monthly users."),
    N_("Mistral Small 3.2 is a newer training of the same size with the same abilities."),
    N_("Mistral Small 3.2 has the same size, four times the context, and reads pictures."),
    N_("Thinks before it answers unless it is told not to."),
    N_("Answers at once, without thinking first."),
    N_(
        "Of its experts a few answer each token: as fast as a model of 3 billion, with the memory of"
        " one of 30."
    ),
    N_("Made for programming assistants, which call tools."),
    N_("Of its experts a few answer each token."),
    N_("Three layers in four remember in a state of fixed size: long texts take little memory."),
    N_("Hears pieces of 30 seconds."),
    N_("Large v3 with a smaller decoder: several times as fast, hardly less exact."),
)
