# From RTL to a bitfile, with Vivado alone:
#
#     vivado -mode batch -source shell.tcl
#
# settings.tcl, beside this file, says for which board and which accelerator. What comes out lies
# there too: accelerator.bit and .hwh, and reports/. Needs no board files and no Vitis HLS.

set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]

# Rows for a program: a name and a value, with a tab between.
set facts [list]
proc fact {name value} {
	global facts
	lappend facts "$name\t$value"
}

# Progress: a program that runs Vivado reads these lines.
proc step {text} {
	puts "STEP $text"
}

proc ip {name cell} {
	set known [get_ipdefs -filter "NAME == $name"]
	if {[llength $known] == 0} {
		error "this Vivado has no IP $name"
	}
	return [create_bd_cell -type ip -vlnv [get_property VLNV [lindex $known end]] $cell]
}

proc wire {from args} {
	foreach to $args {
		connect_bd_net [get_bd_pins $from] [get_bd_pins $to]
	}
}

proc bus {from to} {
	connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

step "project"
create_project -force shell [file join $here project] -part $part
set_property target_language Verilog [current_project]

# Memories' contents are found wherever synthesis runs: their names become whole paths.
set texts [file join $here project hdl]
file mkdir $texts
set paths [list]
foreach name $memories {
	lappend paths "\"$name\"" "\"[file join $here data $name]\""
}
foreach name $sources {
	set channel [open [file join $here hdl $name] r]
	set text [string map $paths [read $channel]]
	close $channel
	set channel [open [file join $texts $name] w]
	puts -nonewline $channel $text
	close $channel
	add_files -norecurse [file join $texts $name]
}
update_compile_order -fileset sources_1

step "block design"
create_bd_design top

ip $ps_ip zynq_ps
set_property -dict $ps_properties [get_bd_cells zynq_ps]
foreach {name type} $ps_external {
	create_bd_intf_port -mode Master -vlnv $type $name
	connect_bd_intf_net [get_bd_intf_ports $name] [get_bd_intf_pins zynq_ps/$name]
}
# An overlay sets the dividers of the fabric's clock, not the PLL, which PYNQ's image has set.
set division 1
foreach divisor $ps_divisors {
	set division [expr {$division * [get_property CONFIG.$divisor [get_bd_cells zynq_ps]]}]
}
if {$division != $ps_division} {
	error "the fabric's clock is divided by $division, and PYNQ's PLL wants $ps_division"
}

ip clk_wiz clk_wiz_0
set_property -dict [list \
	CONFIG.PRIM_IN_FREQ.VALUE_SRC PROPAGATED \
	CONFIG.PRIM_SOURCE No_buffer \
	CONFIG.CLKOUT1_REQUESTED_OUT_FREQ $clock_mhz \
	CONFIG.USE_LOCKED true \
	CONFIG.USE_RESET true \
	CONFIG.RESET_TYPE ACTIVE_LOW \
	CONFIG.RESET_PORT resetn \
] [get_bd_cells clk_wiz_0]
wire zynq_ps/$ps_clock clk_wiz_0/clk_in1

ip proc_sys_reset proc_sys_reset_0
wire clk_wiz_0/locked proc_sys_reset_0/dcm_locked
wire zynq_ps/$ps_reset clk_wiz_0/resetn proc_sys_reset_0/ext_reset_in

foreach cell {idma0 accelerator odma0} {
	create_bd_cell -type module -reference shell_$cell $cell
}
bus idma0/m_axis_0 accelerator/s_axis_0
bus accelerator/m_axis_0 odma0/s_axis_0
# A soft reset of one DMA is one of both, and of the accelerator.
foreach {one other} {idma0 odma0 odma0 idma0} {
	wire $one/reset_asked $other/others_asked
	wire $one/draining $other/others_drain
}
wire idma0/resetting accelerator/source_resetting
wire odma0/resetting accelerator/sink_resetting

# From the processor to registers.
ip axi_intc axi_intc_0
set_property -dict [list CONFIG.C_IRQ_CONNECTION 1] [get_bd_cells axi_intc_0]
ip smartconnect control
set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 3] [get_bd_cells control]
bus zynq_ps/$ps_control control/S00_AXI
bus control/M00_AXI idma0/s_axi_control
bus control/M01_AXI odma0/s_axi_control
bus control/M02_AXI axi_intc_0/s_axi

# From DMAs to memory.
ip smartconnect memory
set_property -dict [list CONFIG.NUM_SI 2 CONFIG.NUM_MI 1] [get_bd_cells memory]
bus idma0/m_axi_gmem memory/S00_AXI
bus odma0/m_axi_gmem memory/S01_AXI
bus memory/M00_AXI zynq_ps/$ps_memory

# Interrupts: pynq wants an interrupt controller between.
ip xlconcat xlconcat_0
set_property -dict [list CONFIG.NUM_PORTS 2] [get_bd_cells xlconcat_0]
wire idma0/interrupt xlconcat_0/In0
wire odma0/interrupt xlconcat_0/In1
wire xlconcat_0/dout axi_intc_0/intr
wire axi_intc_0/irq zynq_ps/$ps_interrupt

# One clock for everything in the fabric.
wire clk_wiz_0/clk_out1 \
	proc_sys_reset_0/slowest_sync_clk zynq_ps/$ps_control_clock zynq_ps/$ps_memory_clock \
	control/aclk memory/aclk axi_intc_0/s_axi_aclk \
	idma0/ap_clk accelerator/ap_clk odma0/ap_clk
wire proc_sys_reset_0/interconnect_aresetn control/aresetn memory/aresetn
wire proc_sys_reset_0/peripheral_aresetn \
	axi_intc_0/s_axi_aresetn idma0/ap_rst_n accelerator/ap_rst_n odma0/ap_rst_n

foreach {segment offset range} $registers {
	assign_bd_address -offset $offset -range $range \
		-target_address_space [get_bd_addr_spaces zynq_ps/Data] [get_bd_addr_segs $segment]
}
foreach space {idma0/m_axi_gmem odma0/m_axi_gmem} {
	set space [get_bd_addr_spaces $space]
	foreach {segment offset range} $memory_segments {
		# The second half is there where the memory is larger than the first.
		set found [get_bd_addr_segs -quiet zynq_ps/$segment]
		if {[llength $found]} {
			assign_bd_address -offset $offset -range $range -target_address_space $space $found
		}
	}
	foreach segment $other_segments {
		exclude_bd_addr_seg -target_address_space $space [get_bd_addr_segs zynq_ps/$segment]
	}
}

validate_bd_design
save_bd_design
fact clock_hz [get_property CONFIG.FREQ_HZ [get_bd_pins clk_wiz_0/clk_out1]]

set design [get_files top.bd]
# One synthesis for all, so that modules share what they can.
set_property synth_checkpoint_mode None $design
generate_target all $design
add_files -norecurse [make_wrapper -files $design -top]
set_property top top_wrapper [current_fileset]
update_compile_order -fileset sources_1

step "synthesis"
launch_runs synth_1 -jobs $jobs
wait_on_run synth_1
if {[get_property PROGRESS [get_runs synth_1]] != "100%"} {
	error "synthesis ended with: [get_property STATUS [get_runs synth_1]]"
}

step "placement and routing"
set_property STEPS.PHYS_OPT_DESIGN.IS_ENABLED true [get_runs impl_1]
launch_runs impl_1 -to_step write_bitstream -jobs $jobs
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] != "100%"} {
	error "placement and routing ended with: [get_property STATUS [get_runs impl_1]]"
}

step "reports"
open_run impl_1
set reports [file join $here reports]
file mkdir $reports
report_timing_summary -file [file join $reports timing.rpt]
report_utilization -file [file join $reports utilization.rpt]
report_utilization -hierarchical -file [file join $reports hierarchy.rpt]
report_power -file [file join $reports power.rpt]
foreach kind {max min} {
	set path [get_timing_paths -delay_type $kind -max_paths 1]
	foreach name {SLACK STARTPOINT_PIN ENDPOINT_PIN LOGIC_LEVELS DATAPATH_DELAY} {
		fact $kind.$name [get_property $name $path]
	}
}

file copy -force [file join $here project shell.runs impl_1 top_wrapper.bit] \
	[file join $here accelerator.bit]
file copy -force [file join $here project shell.gen sources_1 bd top hw_handoff top.hwh] \
	[file join $here accelerator.hwh]
fact vivado [version -short]

# Last: a program that finds it knows that all went well.
set channel [open [file join $reports facts.txt] w]
puts $channel [join $facts "\n"]
close $channel
