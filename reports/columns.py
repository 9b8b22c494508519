"""The firm's own names for tables and columns, the same in what is imported and in what is exported."""

from typing import Final

OUTLETS: Final = "客户"
PRODUCTS: Final = "产品"
EMPLOYEES: Final = "业务员"
COMPETITORS: Final = "竞品"
VISITS: Final = "拜访"
CHANGES: Final = "拜访修改记录"
PLACES: Final = "定位"
PHOTOS: Final = "照片"
NOTES: Final = "语音与小结"
TODOS: Final = "待办"
APPEALS: Final = "申诉"
ALERTS: Final = "预警"
CONFIRMATIONS: Final = "确认记录"

# What `zoudian import` reads, and what `zoudian export` writes under the same names.
MASTER: Final = (OUTLETS, PRODUCTS, EMPLOYEES, COMPETITORS)

# Columns that a file may leave out; what is stored there then stays.
OPTIONAL: Final[dict[str, tuple[str, ...]]] = {OUTLETS: ("别名",), EMPLOYEES: ("企业微信账号",)}

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    OUTLETS: (
        "客户编码",
        "客户名称",
        "客户类型",
        "区域",
        "地址",
        "纬度",
        "经度",
        "负责业务员",
        "首次接触日期",
        "配送要求",
        "别名",
    ),
    PRODUCTS: ("产品编码", "产品名称", "别名", "产品线", "规格", "单位", "单价", "是否新品"),
    EMPLOYEES: ("工号", "姓名", "角色", "区域", "上级工号", "状态", "企业微信账号"),
    COMPETITORS: ("竞品名称", "对应产品线"),
    VISITS: (
        "拜访编号",
        "日期",
        "工号",
        "业务员",
        "客户编码",
        "客户名称",
        "状态",
        "结果",
        "到店时间",
        "离店时间",
        "提交时间",
        "时长分钟",
        "签到等级",
        "签到依据",
        "解决的问题",
        "成交关键因素",
        "未成交根因",
        "见到的人",
        "客户异议",
        "提到的竞品",
        "订单",
        "样品",
        "金额",
        "账期",
        "下次跟进",
        "要核对的动作",
        "未确认的项目",
        "补录",
    ),
    CHANGES: ("拜访编号", "时间", "工号", "业务员", "项目", "改前", "改后", "已撤销"),
    PLACES: (
        "定位编号",
        "工号",
        "业务员",
        "时间",
        "纬度",
        "经度",
        "原始纬度",
        "原始经度",
        "坐标系",
        "来源",
        "误差米",
        "测得时间",
    ),
    PHOTOS: (
        "照片编号",
        "拜访编号",
        "工号",
        "业务员",
        "时间",
        "文件",
        "格式",
        "宽",
        "高",
        "拍摄时间",
        "拍摄纬度",
        "拍摄经度",
        "与拜访相同",
    ),
    NOTES: (
        "小结编号",
        "拜访编号",
        "工号",
        "业务员",
        "时间",
        "状态",
        "文字",
        "可信度",
        "识别器",
        "秒数",
        "文件",
        "格式",
    ),
    TODOS: (
        "待办编号",
        "拜访编号",
        "工号",
        "业务员",
        "客户编码",
        "客户名称",
        "最早日期",
        "最晚日期",
        "时间",
        "原话",
        "事项",
        "状态",
        "提醒时间",
        "已提醒时间",
        "结束时间",
        "推迟次数",
        "自动生成",
    ),
    APPEALS: ("申诉编号", "拜访编号", "工号", "业务员", "说明", "时间", "状态", "处理人", "处理时间"),
    ALERTS: ("预警编号", "日期", "经理工号", "经理", "生成时间", "规则", "区域", "业务员", "连续天数", "拜访编号"),
    CONFIRMATIONS: (
        "拜访编号",
        "工号",
        "业务员",
        "时间",
        "栏目",
        "规则",
        "机器人填的",
        "业务员定的",
        "结果",
        "原话",
        "把握",
    ),
}
