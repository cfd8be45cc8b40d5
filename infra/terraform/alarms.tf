locals {
  function_alarms = {
    errors    = { metric = "Errors", statistic = "Sum", threshold = 5, text = "requests that ended in a fault" }
    throttles = { metric = "Throttles", statistic = "Sum", threshold = 20, text = "requests refused for want of instances" }
    slow      = { metric = "Duration", extended = "p99", threshold = 5000, text = "slow answers: is the table throttled?" }
  }
}

resource "aws_cloudwatch_metric_alarm" "function" {
  for_each            = local.function_alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.text}; members go on with their last snapshot meanwhile"
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  statistic           = lookup(each.value, "statistic", null)
  extended_statistic  = lookup(each.value, "extended", null)
  dimensions          = { FunctionName = aws_lambda_function.registry.function_name }
  period              = 300
  evaluation_periods  = 2
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "table_throttled" {
  alarm_name          = "${var.name}-table-throttled"
  alarm_description   = "the table refuses reads or writes: more than its on-demand capacity grew to"
  namespace           = "AWS/DynamoDB"
  metric_name         = "ThrottledRequests"
  statistic           = "Sum"
  dimensions          = { TableName = aws_dynamodb_table.registry.name }
  period              = 300
  evaluation_periods  = 2
  threshold           = 50
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
  ok_actions          = var.alarm_topics
}
